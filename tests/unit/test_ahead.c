/* SPDX-License-Identifier: Apache-2.0 */
/* fs/ahead: what was read ahead is what would be read now, in pieces of any size, and none of it
 * outlives its tensor.
 *
 * The one idea: the file is evicted first, so that its pages tell when a thread reads a piece; from
 * then on the READ that takes it waits, and every answer is decided. */

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "checkpoint_of.h"
#include "fs/ahead.h"
#include "loader/base/cleanup.h"
#include "loader/base/pagecache.h"
#include "tap.h"

#define PIECE	   ((uint64_t)AHEAD_PIECE_BYTES)
#define LONG_BYTES (5 * PIECE + 300001)
#define DEADLINE_S 10
#define LOOKS	   20000

struct world {
	struct llama llama;
	struct wloadfs fs;
	uint32_t tensor; /* the long one */
	char *buf;
	const char *bytes; /* of the last take() */
};

static const struct wload_shard *shard_of(const struct world *w)
{
	return wload_checkpoint_shard(w->fs.ckpt, 0);
}

static void evict(const struct world *w)
{
	(void)fdatasync(shard_of(w)->fd);
	(void)posix_fadvise(shard_of(w)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* No stream, and nothing cached. */
static void begin(struct world *w)
{
	ahead_stop(&w->fs);
	(void)ahead_start(&w->fs);
	evict(w);
}

/* Bytes of the tensor's [lo, hi) that are cached, of the pages wholly inside. */
static uint64_t cached(const struct world *w, uint64_t lo, uint64_t hi, uint64_t *ret_all)
{
	uint64_t start = wload_inventory_tensor(w->fs.inv, w->tensor).offset, bytes;
	uint64_t first = (start + lo + 4095) / 4096 * 4096, end = (start + hi) / 4096 * 4096;

	*ret_all = end - first;
	return pagecache_bytes(shard_of(w)->fd, first, end, &bytes) == 0 ? bytes : 0;
}

/* Waits until a thread reads the piece. */
static bool is_read(const struct world *w, uint64_t lo, uint64_t hi)
{
	time_t end = time(NULL) + DEADLINE_S;
	uint64_t all;

	while (cached(w, lo, hi, &all) < all) {
		if (time(NULL) > end)
			return false;
		(void)sched_yield();
	}
	return true;
}

static ssize_t take(struct world *w, uint64_t offset, size_t size)
{
	struct node node = {.kind = NODE_TENSOR, .index = w->tensor};

	return ahead_take(&w->fs, node, offset, size, &w->buf, &w->bytes);
}

/* Is anything of the tensor read, while a thread has had the time to? */
static bool is_anything_read(const struct world *w)
{
	uint64_t all;
	int looks = LOOKS;

	while (looks && cached(w, 0, LONG_BYTES, &all) == 0) {
		(void)sched_yield();
		looks--;
	}
	return looks > 0;
}

/* Is it what the tensor has there? */
static bool is_right(const struct world *w, uint64_t offset, ssize_t n)
{
	for (ssize_t i = 0; i < n; i++)
		if ((uint8_t)w->bytes[i] != llama_byte("long", offset + (uint64_t)i))
			return false;
	return true;
}

/* READs from the tensor's beginning on, one behind the other. */
static const struct row {
	const char *name;
	size_t size[6];	   /* of READs, until a 0 */
	ssize_t want[6];   /* each one's answer */
	uint64_t piece[6]; /* what is read ahead behind each; 0: waited for nothing */
} rows[] = {
	{"large READs", {PIECE, PIECE, PIECE}, {-EAGAIN, PIECE, PIECE}, {PIECE, PIECE, PIECE}},
	{"the last is shorter",
	 {PIECE, PIECE, PIECE, PIECE, PIECE, PIECE},
	 {-EAGAIN, PIECE, PIECE, PIECE, PIECE, 300001},
	 {PIECE, PIECE, PIECE, PIECE, 300001}},
	{"a small READ behind each",
	 {PIECE - 4096, 4096, PIECE - 4096, 4096, PIECE - 4096},
	 {-EAGAIN, 4096, -EAGAIN, 4096, PIECE - 4096},
	 {PIECE - 4096, 0, PIECE}},
	{"small READs of one piece",
	 {PIECE, 100, 5000, PIECE / 2},
	 {-EAGAIN, 100, 5000, PIECE / 2},
	 {PIECE}},
	{"a larger READ is not answered by half",
	 {PIECE / 4, PIECE, PIECE},
	 {-EAGAIN, -EAGAIN, PIECE},
	 {PIECE / 4, PIECE}},
	{"a READ of less than was read ahead", {PIECE, PIECE / 2}, {-EAGAIN, PIECE / 2}, {PIECE}},
};

static void check_row(struct tap *tap, struct world *w, const struct row *row)
{
	uint64_t offset = 0;
	bool right = true;

	begin(w);
	for (int i = 0; right && i < 6 && row->size[i]; i++) {
		ssize_t n = take(w, offset, row->size[i]);

		right = n == row->want[i] && is_right(w, offset, n);
		offset += row->size[i];
		if (!right)
			printf("# READ %d: %zd\n", i, n);
		if (right && row->piece[i] && !is_read(w, offset, offset + row->piece[i]))
			right = false, printf("# READ %d: nothing is read ahead\n", i);
	}
	ok(tap, right, "%s", row->name);
}

/* Who begins in the middle has read on once before it counts as reading on. */
static void check_middle(struct tap *tap, struct world *w)
{
	ssize_t first, second, third;

	begin(w);
	first = take(w, 12345, PIECE);
	second = take(w, 12345 + PIECE, PIECE);
	(void)is_read(w, 12345 + 2 * PIECE, 12345 + 3 * PIECE);
	third = take(w, 12345 + 2 * PIECE, PIECE);
	ok(tap,
	   first == -EAGAIN && second == -EAGAIN && third == (ssize_t)PIECE &&
		   is_right(w, 12345 + 2 * PIECE, third),
	   "from the middle on, the third READ is the first that was read ahead");
}

static void check_consumed(struct tap *tap, struct world *w)
{
	bool before;

	begin(w);
	(void)take(w, 0, PIECE);
	before = is_read(w, PIECE, 2 * PIECE);
	(void)claims_drop(&w->fs.claims, CLAIMS_ROOT, w->tensor);
	ahead_pause(&w->fs);
	evict(w);
	ahead_resume(&w->fs);
	ok(tap, before && take(w, PIECE, PIECE) == -EAGAIN, "consumed: its piece is gone");
	begin(w);
	(void)take(w, 0, PIECE);
	ok(tap, !is_anything_read(w), "consumed: nothing is read ahead for those who read on");
	(void)claims_restore(&w->fs.claims, CLAIMS_ROOT, w->tensor);
}

static void check_pause(struct tap *tap, struct world *w)
{
	begin(w);
	ahead_pause(&w->fs);
	ahead_pause(&w->fs);
	(void)take(w, 0, PIECE);
	ahead_resume(&w->fs);
	ok(tap, !is_anything_read(w), "paused: nothing is read while any eviction lasts");
	ahead_resume(&w->fs);
	ok(tap,
	   is_read(w, PIECE, 2 * PIECE) && take(w, PIECE, PIECE) == (ssize_t)PIECE &&
		   is_right(w, PIECE, PIECE),
	   "paused: what was wanted meanwhile is read afterwards");
}

/* On one CPU a thread beside the worker would only be in its way. */
static void check_one_cpu(struct tap *tap, struct world *w)
{
	cpu_set_t all, one;
	int cpu = 0;

	ahead_stop(&w->fs);
	(void)sched_getaffinity(0, sizeof(all), &all);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	ok(tap, ahead_start(&w->fs) == 0 && !w->fs.ahead, "one CPU to run on: no threads");
	(void)sched_setaffinity(0, sizeof(all), &all);
}

static int world_make(struct world *w, struct wload_error *err)
{
	struct llama_tensor tensors[] = {llama_tensor("before", 4097, 1, WLOAD_DTYPE_U8),
					 llama_tensor("long", LONG_BYTES, 1, WLOAD_DTYPE_U8)};
	char path[160];

	w->llama = (struct llama){.folder = "/tmp/wload-test-XXXXXX"};
	w->buf = aligned_alloc(4096, AHEAD_PIECE_BYTES);
	if (!w->buf || !mkdtemp(w->llama.folder))
		return -ENOMEM;
	(void)snprintf(path, sizeof(path), "%s/a.safetensors", w->llama.folder);
	if (llama_write_shard(path, tensors, 2) < 0)
		return -EIO;
	if (wload_checkpoint_open(w->llama.folder, NULL, NULL, &w->fs.ckpt, err) < 0)
		return -EIO;
	w->fs.inv = wload_checkpoint_inventory(w->fs.ckpt);
	w->tensor = 1;
	return claims_init(&w->fs.claims, w->fs.inv, 0) < 0 ? -ENOMEM : ahead_start(&w->fs);
}

int main(void)
{
	struct world w = {0};
	struct wload_error err = {0};
	struct tap tap = {0};
	uint64_t all;
	int r = world_make(&w, &err);

	if (!ok(&tap, r == 0, "made: %s", err.text))
		return tap_done(&tap);
	evict(&w);
	if (!w.fs.ahead || cached(&w, 0, LONG_BYTES, &all) > 0) {
		tap_skip(&tap, "one CPU, or a filesystem that evicts nothing");
	} else {
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			check_row(&tap, &w, &rows[i]);
		check_middle(&tap, &w);
		check_consumed(&tap, &w);
		check_pause(&tap, &w);
		check_one_cpu(&tap, &w);
	}
	ahead_stop(&w.fs);
	ok(&tap, !w.fs.ahead, "stopped");
	claims_free(&w.fs.claims);
	wload_checkpoint_close(w.fs.ckpt);
	llama_remove(&w.llama);
	free(w.buf);
	return tap_done(&tap);
}
