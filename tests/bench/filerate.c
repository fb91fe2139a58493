/* SPDX-License-Identifier: Apache-2.0 */
/* How fast files can be read: what `make bench` compares everything with.
 *
 *   filerate [-m read|mmap|direct|fresh|huge] [-t THREADS] [-c CHUNK_BYTES]
 *
 * Items come on stdin, a line each: PATH TAB OFFSET TAB BYTES. They are cut into chunks that the
 * threads take in order. Opening, and mapping or allocating, are in the time, as they are in every
 * loader's; buffers that are read into again and again are there before.
 *
 *   read    pread() into a thread's one buffer
 *   mmap    a byte of each cache line of a shared mapping
 *   direct  read with O_DIRECT; items are whole files
 *   fresh   pread() into new memory, all of which is kept
 *   huge    the same, and huge pages are asked for
 *
 * Prints one JSON object: mode, threads, bytes, seconds. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE    2
#define THREADS_MAX   4096u
#define CHUNK_DEFAULT ((size_t)1 << 20)
#define ALIGNMENT     ((size_t)4096)
#define CACHE_LINE    64

enum mode { MODE_READ, MODE_MMAP, MODE_DIRECT, MODE_FRESH, MODE_HUGE, MODE_COUNT };

static const char *const mode_names[MODE_COUNT] = {"read", "mmap", "direct", "fresh", "huge"};

struct item {
	char *path;
	uint64_t offset, bytes;
	int fd;
	uint8_t *map; /* MODE_MMAP: the file from its start */
	uint64_t at;  /* MODE_FRESH: where its bytes go in the memory */
};

struct chunk {
	uint32_t item;
	uint64_t offset; /* from the item's start */
	size_t bytes;
};

struct rate {
	enum mode mode;
	unsigned int threads;
	size_t chunk_bytes;
	struct item *items;
	size_t item_count;
	struct chunk *chunks;
	size_t chunk_count;
	uint64_t bytes;
	uint8_t *memory; /* MODE_FRESH */
	atomic_size_t next;
	atomic_int error;
	_Atomic uint64_t sum; /* of what was touched, so that it is */
};

struct reader {
	struct rate *rate;
	pthread_t thread;
	uint8_t *buffer;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *grown(void *old, size_t count, size_t size)
{
	void *p = old;

	/* Doubled at each power of two. */
	if ((count & (count - 1)) == 0)
		p = reallocarray(old, count ? count * 2 : 1, size);
	if (!p) {
		(void)fprintf(stderr, "filerate: out of memory\n");
		exit(EXIT_FAILURE);
	}
	return p;
}

/* ---- what is to be read ---- */

static bool parse_item(char *line, struct item *ret)
{
	char *tab = strchr(line, '\t');
	struct item item = {.fd = -1};
	int used = 0;

	if (!tab ||
	    sscanf(tab, "\t%" SCNu64 "\t%" SCNu64 "%n", &item.offset, &item.bytes, &used) != 2)
		return false;
	*tab = 0;
	item.path = strdup(line);
	*ret = item;
	return item.path && (tab[used] == '\n' || tab[used] == 0);
}

static int read_items(struct rate *rate)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		rate->items = grown(rate->items, rate->item_count, sizeof(*rate->items));
		if (!parse_item(line, &rate->items[rate->item_count])) {
			(void)fprintf(stderr, "filerate: no item: %s", line);
			return EXIT_USAGE;
		}
		rate->items[rate->item_count].at = rate->bytes;
		rate->bytes += rate->items[rate->item_count++].bytes;
	}
	free(line);
	return 0;
}

static void cut(struct rate *rate)
{
	for (size_t i = 0; i < rate->item_count; i++) {
		uint64_t bytes = rate->items[i].bytes;

		for (uint64_t at = 0; at < bytes; at += rate->chunk_bytes) {
			uint64_t left = bytes - at;
			struct chunk chunk = {.item = (uint32_t)i, .offset = at};

			chunk.bytes = left < rate->chunk_bytes ? (size_t)left : rate->chunk_bytes;
			rate->chunks = grown(rate->chunks, rate->chunk_count, sizeof(chunk));
			rate->chunks[rate->chunk_count++] = chunk;
		}
	}
}

/* ---- reading it ---- */

static int open_item(const struct rate *rate, struct item *item)
{
	size_t len = (size_t)(item->offset + item->bytes);

	item->fd =
		open(item->path, O_RDONLY | O_CLOEXEC | (rate->mode == MODE_DIRECT ? O_DIRECT : 0));
	if (item->fd < 0)
		return -errno;
	if (rate->mode != MODE_MMAP || len == 0)
		return 0;
	item->map = mmap(NULL, len, PROT_READ, MAP_SHARED, item->fd, 0);
	return item->map == MAP_FAILED ? -errno : 0;
}

static int open_all(struct rate *rate)
{
	for (size_t i = 0; i < rate->item_count; i++) {
		int r = open_item(rate, &rate->items[i]);

		if (r < 0) {
			(void)fprintf(stderr, "filerate: '%s': %s\n", rate->items[i].path,
				      strerror(-r));
			return EXIT_FAILURE;
		}
	}
	if (rate->mode != MODE_FRESH && rate->mode != MODE_HUGE)
		return 0;
	rate->memory = mmap(NULL, (size_t)rate->bytes + 1, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rate->memory == MAP_FAILED) {
		(void)fprintf(stderr, "filerate: no memory for %" PRIu64 " bytes\n", rate->bytes);
		return EXIT_FAILURE;
	}
	if (rate->mode == MODE_HUGE)
		(void)madvise(rate->memory, (size_t)rate->bytes, MADV_HUGEPAGE);
	return 0;
}

static uint64_t touch(const uint8_t *bytes, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i + sizeof(uint64_t) <= len; i += CACHE_LINE)
		sum += *(const volatile uint8_t *)(bytes + i);
	return sum;
}

static int read_chunk(struct rate *rate, const struct chunk *chunk, uint8_t *buffer)
{
	const struct item *item = &rate->items[chunk->item];
	uint64_t offset = item->offset + chunk->offset;
	uint8_t *to = rate->memory ? rate->memory + item->at + chunk->offset : buffer;
	/* O_DIRECT asks for whole blocks, and gets what there is at the end of the file. */
	size_t ask = rate->mode == MODE_DIRECT ? rate->chunk_bytes : chunk->bytes;
	size_t got = 0;

	if (rate->mode == MODE_MMAP) {
		atomic_fetch_add(&rate->sum, touch(item->map + offset, chunk->bytes));
		return 0;
	}
	while (got < chunk->bytes) {
		ssize_t n = pread(item->fd, to + got, ask - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		got += (size_t)n;
	}
	return 0;
}

static void *reader(void *arg)
{
	struct reader *me = arg;
	struct rate *rate = me->rate;

	for (;;) {
		size_t i = atomic_fetch_add(&rate->next, 1);
		int r;

		if (i >= rate->chunk_count || atomic_load(&rate->error))
			return NULL;
		r = read_chunk(rate, &rate->chunks[i], me->buffer);
		if (r < 0)
			atomic_store(&rate->error, -r);
	}
}

/* One buffer a thread, its pages there. */
static int prepare(struct rate *rate, struct reader *readers)
{
	for (unsigned int i = 0; i < rate->threads; i++) {
		readers[i].rate = rate;
		readers[i].buffer = aligned_alloc(ALIGNMENT, rate->chunk_bytes);
		if (!readers[i].buffer) {
			(void)fprintf(stderr, "filerate: out of memory\n");
			return EXIT_FAILURE;
		}
		memset(readers[i].buffer, 1, rate->chunk_bytes);
	}
	return 0;
}

static int run(struct rate *rate)
{
	struct reader readers[THREADS_MAX];
	double begin, seconds;
	int r = prepare(rate, readers);

	begin = now();
	if (r == 0)
		r = open_all(rate);
	if (r)
		return r;
	for (unsigned int i = 0; i < rate->threads; i++) {
		if (pthread_create(&readers[i].thread, NULL, reader, &readers[i]) != 0) {
			(void)fprintf(stderr, "filerate: no thread\n");
			return EXIT_FAILURE;
		}
	}
	for (unsigned int i = 0; i < rate->threads; i++)
		pthread_join(readers[i].thread, NULL);
	seconds = now() - begin;
	for (unsigned int i = 0; i < rate->threads; i++)
		free(readers[i].buffer);
	if (atomic_load(&rate->error)) {
		(void)fprintf(stderr, "filerate: %s\n", strerror(atomic_load(&rate->error)));
		return EXIT_FAILURE;
	}
	printf("{\"mode\":\"%s\",\"threads\":%u,\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n",
	       mode_names[rate->mode], rate->threads, rate->bytes, seconds);
	return 0;
}

static bool parse_options(int argc, char **argv, struct rate *rate)
{
	int option;

	while ((option = getopt(argc, argv, "m:t:c:")) != -1) {
		enum mode mode = 0;

		switch (option) {
		case 'm':
			while (mode < MODE_COUNT && strcmp(optarg, mode_names[mode]) != 0)
				mode++;
			rate->mode = mode;
			break;
		case 't':
			rate->threads = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			rate->chunk_bytes = (size_t)strtoull(optarg, NULL, 10);
			break;
		default:
			return false;
		}
	}
	return optind == argc && rate->mode < MODE_COUNT && rate->threads > 0 &&
	       rate->threads <= THREADS_MAX && rate->chunk_bytes > 0 &&
	       rate->chunk_bytes % ALIGNMENT == 0;
}

int main(int argc, char **argv)
{
	static struct rate rate = {.threads = 1, .chunk_bytes = CHUNK_DEFAULT};
	int r;

	if (!parse_options(argc, argv, &rate)) {
		(void)fprintf(stderr, "usage: filerate [-m read|mmap|direct|fresh|huge] "
				      "[-t THREADS] [-c CHUNK_BYTES] <ITEMS\n");
		return EXIT_USAGE;
	}
	r = read_items(&rate);
	if (r)
		return r;
	cut(&rate);
	return run(&rate);
}
