/* SPDX-License-Identifier: Apache-2.0 */
/* Exact checks that a shell can't make: a system call's errno, resident pages, bytes by each way of
 * reading, a control file's answer.
 *
 * The one idea: tensors made by scripts/make-checkpoint say at every word which tensor and which
 * offset they are (scripts/wload_pattern.py), so a check needs the name alone. Prints what it
 * found in one word or line; exit 0 as asked, 1 otherwise, 2 usage. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK_BYTES (1U << 20)
#define PAGE_BYTES  4096U

/* ---- the pattern -------------------------------------------------------------------------- */

/* A NUL inside a name is spelled C0 80, as in wloadfs/tensor.h: an argument can't hold one. */
static uint32_t name_hash(const char *name)
{
	uint32_t h = 0x811C9DC5U;

	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		bool nul = p[0] == 0xC0 && p[1] == 0x80;

		h = (h ^ (nul ? 0 : *p)) * 0x01000193U;
		p += nul;
	}
	return h;
}

static uint8_t pattern_byte(uint32_t hash, uint64_t offset)
{
	uint64_t word = (uint64_t)hash << 32 | (uint32_t)(offset / 8);

	return (uint8_t)(word >> 8 * (offset % 8));
}

/* True when bytes read at an offset are the pattern's; else says the first that is not. */
static bool is_pattern(uint32_t hash, const uint8_t *bytes, size_t len, uint64_t offset)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t want = pattern_byte(hash, offset + i);

		if (bytes[i] != want) {
			printf("byte %" PRIu64 " is %02x, want %02x\n", offset + i, bytes[i], want);
			return false;
		}
	}
	return true;
}

static int failed(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	return 1;
}

static int open_or_stdin(const char *path, int flags)
{
	return strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, flags | O_CLOEXEC);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int read_all(int fd, uint32_t hash)
{
	uint64_t at = 0;
	uint8_t *buf = aligned_alloc(PAGE_BYTES, CHUNK_BYTES);
	ssize_t n;

	if (!buf)
		return failed("memory");
	while ((n = pread(fd, buf, CHUNK_BYTES, (off_t)at)) > 0) {
		if (!is_pattern(hash, buf, (size_t)n, at)) {
			free(buf);
			return 1;
		}
		at += (uint64_t)n;
	}
	free(buf);
	if (n < 0)
		return failed("pread");
	printf("%" PRIu64 "\n", at);
	return 0;
}

static int read_path(const char *path, const char *name, int flags)
{
	int fd = open_or_stdin(path, flags), r;

	if (fd < 0)
		return failed("open");
	r = read_all(fd, name_hash(name));
	close(fd);
	return r;
}

/* stamps FILE|- NAME: every byte by pread; '-' checks the descriptor that is standard input. */
static int do_stamps(char **args)
{
	return read_path(args[0], args[1], O_RDONLY);
}

/* direct FILE NAME: the same through O_DIRECT. */
static int do_direct(char **args)
{
	return read_path(args[0], args[1], O_RDONLY | O_DIRECT);
}

/* map shared|private FILE NAME: the same through a mapping. */
static int do_map(char **args)
{
	int flags = strcmp(args[0], "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
	int fd = open(args[1], O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;
	bool same;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed("open");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, flags, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return failed("mmap");
	same = is_pattern(name_hash(args[2]), map, (size_t)st.st_size, 0);
	munmap(map, (size_t)st.st_size);
	if (same)
		printf("%" PRIu64 "\n", (uint64_t)st.st_size);
	return !same;
}

struct reader {
	int fd;
	uint64_t size;
	uint32_t hash;
	unsigned int seed;
	long reads;
	bool ok;
};

static void *read_at_random(void *arg)
{
	struct reader *r = arg;
	uint8_t *buf = malloc(CHUNK_BYTES);

	r->ok = buf != NULL;
	for (long i = 0; r->ok && i < r->reads; i++) {
		uint64_t at =
			((uint64_t)rand_r(&r->seed) << 16 ^ (uint64_t)rand_r(&r->seed)) % r->size;
		size_t len = 1 + (size_t)rand_r(&r->seed) % (i % 8 ? 9000 : CHUNK_BYTES - 1);
		size_t want = len < r->size - at ? len : (size_t)(r->size - at);
		ssize_t n = pread(r->fd, buf, len, (off_t)at);

		if (n != (ssize_t)want)
			printf("%zu bytes at %" PRIu64 " gave %zd\n", len, at, n);
		r->ok = n == (ssize_t)want && is_pattern(r->hash, buf, want, at);
	}
	free(buf);
	return NULL;
}

/* random FILE NAME SEED THREADS READS: reads at random places and lengths, side by side. */
static int do_random(char **args)
{
	enum { THREADS_MAX = 64 };
	struct reader readers[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	int count = atoi(args[3]), bad = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed("open");
	if (count < 1 || count > THREADS_MAX || st.st_size == 0)
		return 2;
	for (int i = 0; i < count; i++) {
		readers[i] = (struct reader){.fd = fd,
					     .size = (uint64_t)st.st_size,
					     .hash = name_hash(args[1]),
					     .seed = (unsigned int)(atoi(args[2]) + i),
					     .reads = atol(args[4])};
		if (pthread_create(&threads[i], NULL, read_at_random, &readers[i]) != 0)
			return failed("pthread_create");
	}
	for (int i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		bad += !readers[i].ok;
	}
	close(fd);
	return bad != 0;
}

/* ---- residency ---------------------------------------------------------------------------- */

/* resident FILE [OFFSET BYTES]: how many pages of the range the page cache holds, by mincore. */
static int do_resident(char **args)
{
	int fd = open(args[0], O_RDONLY | O_CLOEXEC);
	uint64_t begin = args[1] ? strtoull(args[1], NULL, 0) : 0, pages, count = 0;
	struct stat st;
	uint64_t end;
	unsigned char *vec;
	void *map;

	if (fd < 0 || fstat(fd, &st) < 0)
		return failed("open");
	end = args[1] && args[2] ? begin + strtoull(args[2], NULL, 0) : (uint64_t)st.st_size;
	begin -= begin % PAGE_BYTES;
	pages = (end - begin + PAGE_BYTES - 1) / PAGE_BYTES;
	vec = calloc(pages + 1, 1);
	map = pages ? mmap(NULL, end - begin, PROT_READ, MAP_SHARED, fd, (off_t)begin) : NULL;
	if (!vec || map == MAP_FAILED)
		return failed("mmap");
	if (pages && mincore(map, end - begin, vec) < 0)
		return failed("mincore");
	for (uint64_t i = 0; i < pages; i++)
		count += vec[i] & 1;
	if (pages)
		munmap(map, end - begin);
	free(vec);
	close(fd);
	printf("%" PRIu64 "\n", count);
	return 0;
}

/* ---- errno of a system call --------------------------------------------------------------- */

static int opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		return -1;
	return close(fd);
}

static int call(const char *name, const char *a, const char *b)
{
	static const struct {
		const char *name;
		int flags;
	} ways[] = {
		{"open-read", O_RDONLY},
		{"open-write", O_WRONLY},
		{"open-rdwr", O_RDWR},
		{"open-append", O_WRONLY | O_APPEND},
		{"open-trunc", O_WRONLY | O_TRUNC},
		{"create", O_WRONLY | O_CREAT | O_EXCL},
	};
	struct stat st;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(name, ways[i].name) == 0)
			return opens(a, ways[i].flags);
	if (strcmp(name, "stat") == 0)
		return lstat(a, &st);
	if (strcmp(name, "unlink") == 0)
		return unlink(a);
	if (strcmp(name, "rmdir") == 0)
		return rmdir(a);
	if (strcmp(name, "mkdir") == 0)
		return mkdir(a, 0755);
	if (strcmp(name, "mknod") == 0)
		return mknod(a, S_IFREG | 0644, makedev(0, 0));
	if (strcmp(name, "chmod") == 0)
		return chmod(a, 0600);
	if (strcmp(name, "chown") == 0)
		return chown(a, 12345, 12345);
	if (strcmp(name, "truncate") == 0)
		return truncate(a, 0);
	if (strcmp(name, "utimens") == 0)
		return utimensat(AT_FDCWD, a, NULL, 0);
	if (strcmp(name, "setxattr") == 0)
		return setxattr(a, "user.wload.name", "x", 1, 0);
	if (strcmp(name, "removexattr") == 0)
		return removexattr(a, "user.wload.name");
	if (strcmp(name, "getxattr") == 0)
		return getxattr(a, b, NULL, 0) < 0 ? -1 : 0;
	if (strcmp(name, "rename") == 0 && b)
		return rename(a, b);
	if (strcmp(name, "link") == 0 && b)
		return link(a, b);
	if (strcmp(name, "symlink") == 0 && b)
		return symlink(a, b);
	fprintf(stderr, "probe: no such call '%s'\n", name);
	exit(2);
}

/* errno CALL PATH [PATH2]: prints 0 or the errno's name; exit 0 either way. */
static int do_errno(char **args)
{
	puts(call(args[0], args[1], args[2]) < 0 ? strerrorname_np(errno) : "0");
	return 0;
}

/* ---- the control file --------------------------------------------------------------------- */

/* control FILE TEXT: writes TEXT (with \n for newline) in one write, prints what the same
 * descriptor answers, or the errno's name. */
static int do_control(char **args)
{
	int fd = open(args[0], O_RDWR | O_CLOEXEC);
	char answer[4096], *text = args[1], *out = text;
	ssize_t n;

	if (fd < 0)
		return failed("open");
	for (const char *p = text; *p; p++) {
		bool newline = p[0] == '\\' && p[1] == 'n';

		*out++ = newline ? '\n' : *p;
		p += newline;
	}
	n = write(fd, text, (size_t)(out - text));
	if (n < 0)
		return failed("write");
	if (n != out - text)
		return printf("write: short, %zd\n", n) < 0 ? 2 : 1;
	n = read(fd, answer, sizeof(answer));
	if (n < 0)
		return failed("read");
	fwrite(answer, 1, (size_t)n, stdout);
	return close(fd) < 0 ? failed("close") : 0;
}

static const struct {
	const char *name;
	int args_min, args_max;
	int (*run)(char **args);
} commands[] = {
	{"control", 2, 2, do_control}, {"direct", 2, 2, do_direct}, {"errno", 2, 3, do_errno},
	{"map", 3, 3, do_map},	       {"random", 5, 5, do_random}, {"resident", 1, 3, do_resident},
	{"stamps", 2, 2, do_stamps},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0 && argc - 2 >= commands[i].args_min &&
		    argc - 2 <= commands[i].args_max)
			return commands[i].run(argv + 2);
	fprintf(stderr, "usage: probe control|direct|errno|map|random|resident|stamps ARGS\n");
	return 2;
}
