/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/fetch.c on real files: every way gives the bytes that are there, and leaves in
 * the page cache what it says. What the filesystem of the temporary folder lacks is said and
 * skipped. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "checkpoint_of.h"
#include "loader/base/cleanup.h"
#include "loader/base/pagecache.h"
#include "loader/pipeline/fetch.h"
#include "tap.h"

#define SLOT_BYTES ((size_t)1 << 20)

static const struct row {
	const char *name;
	uint64_t offset; /* from the end, where it is 0 or less than 1000 */
	uint64_t bytes;
	bool at_end;
} rows[] = {
	{"whole blocks", 8192, 65536, false},
	{"one byte", 12345, 1, false},
	{"bytes that no block begins or ends with", 4097, 300001, false},
	{"the last bytes of the shard", 777, 777, true},
	{"up to the end", 300000, 300000, true},
};

static const struct rows_row {
	const char *name;
	struct fetch_rows rows; /* offset, rows, piece, stride */
} rows_rows[] = {
	{"pieces close together", {100, 50, 300, 1000}},
	{"pieces of 2 KiB in rows of 16", {4200, 20, 2048, 16384}},
	{"far apart, at one place in their blocks", {5000, 4, 3000, 131072}},
	{"far apart, at any place", {5000, 4, 3000, 131073}},
};

struct world {
	struct llama llama;
	struct wload_checkpoint *ckpt;
	struct fetch fetch;
	uint8_t *slot, *want;
};

static const char *const way_names[] = {
	[WAY_CACHED] = "cached", [WAY_DROP] = "drop", [WAY_DIRECT] = "direct"};

static const struct wload_shard *shard_of(const struct world *w)
{
	return wload_checkpoint_shard(w->ckpt, 0);
}

static uint64_t cached(const struct world *w)
{
	uint64_t bytes;

	return pagecache_bytes(shard_of(w)->fd, 0, shard_of(w)->bytes, &bytes) < 0 ? UINT64_MAX
										   : bytes;
}

static void evict(const struct world *w)
{
	(void)fsync(shard_of(w)->fd);
	(void)posix_fadvise(shard_of(w)->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static bool keeps_nothing(const struct world *w, enum way way)
{
	return way == WAY_CACHED || cached(w) == 0;
}

static void check_row(struct tap *tap, struct world *w, const struct row *row, enum way way)
{
	uint64_t offset = row->at_end ? shard_of(w)->bytes - row->offset : row->offset;
	struct wload_error err = {0};
	const uint8_t *bytes = NULL;
	enum way used = way;
	bool pass;

	if (pread(shard_of(w)->fd, w->want, row->bytes, (off_t)offset) != (ssize_t)row->bytes)
		return;
	evict(w);
	pass = fetch_read(&w->fetch, &used, 0, offset, row->bytes, w->slot, &bytes, &err) == 0;
	ok(tap, pass && used == way && !memcmp(bytes, w->want, row->bytes) && keeps_nothing(w, way),
	   "%s: %s %s", way_names[way], row->name, err.text);
}

static void check_rows_row(struct tap *tap, struct world *w, const struct rows_row *row,
			   enum way way)
{
	struct wload_error err = {0};
	const uint8_t *bytes = NULL;
	enum way used = way;
	uint32_t pitch = 0;
	bool pass = fetch_read_rows(&w->fetch, &used, 0, &row->rows, w->slot, &bytes, &pitch,
				    &err) == 0;

	for (uint32_t i = 0; pass && i < row->rows.rows; i++)
		pass = pread(shard_of(w)->fd, w->want, row->rows.piece,
			     (off_t)(row->rows.offset + (uint64_t)i * row->rows.stride)) ==
			       (ssize_t)row->rows.piece &&
		       !memcmp(bytes + (size_t)i * pitch, w->want, row->rows.piece);
	ok(tap,
	   pass && used == way && pitch >= row->rows.piece &&
		   bytes + (size_t)(row->rows.rows - 1) * pitch + row->rows.piece <=
			   w->slot + SLOT_BYTES,
	   "%s: %s (pitch %" PRIu32 ") %s", way_names[way], row->name, pitch, err.text);
}

static void check_way(struct tap *tap, struct world *w, enum way way)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(tap, w, &rows[i], way);
	for (size_t i = 0; i < sizeof(rows_rows) / sizeof(rows_rows[0]); i++)
		check_rows_row(tap, w, &rows_rows[i], way);
}

/* A shard that became shorter is told as such by every way. */
static void check_shrunk(struct tap *tap, struct world *w)
{
	uint64_t end = shard_of(w)->bytes;

	if (truncate(shard_of(w)->path, (off_t)(end - 5000)) < 0)
		return;
	for (enum way way = WAY_CACHED; way <= WAY_DIRECT; way++) {
		struct wload_error err = {0};
		const uint8_t *bytes;
		enum way used = way;

		ok(tap,
		   fetch_read(&w->fetch, &used, 0, end - 20000, 20000, w->slot, &bytes, &err) ==
				   -ESTALE &&
			   strstr(err.text, "shrank"),
		   "%s: a shard that shrank: %s", way_names[way], err.text);
	}
}

/* A direct read that ends within a block although the shard does not: some network filesystems'
 * do. Here it is of a shorter copy. */
static void check_short(struct tap *tap, struct world *w)
{
	struct row row = {"a direct read that ends early", 8192, 65536, false};
	struct fetch_shard *own = &w->fetch.shards[0];
	int whole = own->direct_fd;
	struct wload_error err = {0};
	enum way used = WAY_DIRECT;
	const uint8_t *bytes = NULL;
	char path[512];
	bool pass;

	(void)snprintf(path, sizeof(path), "%s/short", w->llama.folder);
	own->direct_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	pass = own->direct_fd >= 0 &&
	       pread(shard_of(w)->fd, w->want, row.offset + 40000, 0) ==
		       (ssize_t)row.offset + 40000 &&
	       write(own->direct_fd, w->want, row.offset + 40000) == (ssize_t)row.offset + 40000 &&
	       pread(shard_of(w)->fd, w->want, row.bytes, (off_t)row.offset) ==
		       (ssize_t)row.bytes &&
	       fetch_read(&w->fetch, &used, 0, row.offset, row.bytes, w->slot, &bytes, &err) == 0;
	ok(tap, pass && used == WAY_DROP && !memcmp(bytes, w->want, row.bytes), "%s: %s", row.name,
	   err.text);
	if (own->direct_fd >= 0)
		close(own->direct_fd);
	own->direct_fd = whole;
	(void)unlink(path);
}

static void check_choice(struct tap *tap, struct world *w)
{
	uint64_t third = shard_of(w)->bytes / 3;

	evict(w);
	ok(tap, fetch_way(&w->fetch, 0, 0, shard_of(w)->bytes) == WAY_DIRECT,
	   "an uncached shard is read directly");
	ok(tap,
	   pread(shard_of(w)->fd, w->want, third < SLOT_BYTES ? third : SLOT_BYTES, 0) > 0 &&
		   fetch_way(&w->fetch, 0, 10, 5000) == WAY_CACHED,
	   "a cached range is copied");
}

int main(void)
{
	struct world w = {0};
	struct wload_error err = {0};
	struct tap tap = {0};

	w.slot = aligned_alloc(FETCH_BLOCK_MAX, SLOT_BYTES);
	w.want = malloc(SLOT_BYTES);
	if (ok(&tap,
	       w.slot && w.want && llama_make(&w.llama, 60) == 0 &&
		       wload_checkpoint_open(w.llama.folder, NULL, NULL, &w.ckpt, &err) == 0 &&
		       fetch_open(&w.fetch, w.ckpt, WLOAD_IO_AUTO, &err) == 0,
	       "a checkpoint %s", err.text)) {
		bool direct = w.fetch.shards[0].direct_fd >= 0;

		evict(&w);
		if (cached(&w) != 0)
			direct = false; /* tmpfs: nothing to read past */
		check_way(&tap, &w, WAY_CACHED);
		if (direct) {
			check_way(&tap, &w, WAY_DROP);
			check_way(&tap, &w, WAY_DIRECT);
			atomic_store(&w.fetch.shards[0].buffered, true);
			for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
				check_row(&tap, &w, &rows[i], WAY_DROP);
			check_choice(&tap, &w);
			check_short(&tap, &w);
			check_shrunk(&tap, &w);
		} else {
			tap_skip(&tap, "the temporary folder is on a filesystem without a disk");
		}
	}
	fetch_close(&w.fetch);
	wload_checkpoint_close(w.ckpt);
	llama_remove(&w.llama);
	free(w.slot);
	free(w.want);
	return tap_done(&tap);
}
