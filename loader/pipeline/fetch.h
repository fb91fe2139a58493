/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_FETCH_H
#define WLOAD_FETCH_H

/* Reads ranges of shards, each the best way at that moment (way.h), by plain reads of many threads.
 *
 * io_uring was measured and is no faster here: on two machines' disks 1-4 MiB reads with O_DIRECT
 * ran at 1.0-1.8 GB/s whether one thread or sixteen waited for them or a ring of 4 to 64 did, and
 * many sandboxes forbid the ring.
 *
 * Nothing a filesystem lacks fails a load: without O_DIRECT (tmpfs, squashfs, some network
 * filesystems) reads go through the page cache; without RWF_DONTCACHE what they leave there is
 * dropped behind them; where nobody says what is cached, two bytes of a range are asked for with
 * RWF_NOWAIT. The kernel answers that with a no, and begins to read them (Linux mm/filemap.c,
 * filemap_get_pages()): they are dropped when the range has been read, or the next load would find
 * every range cached. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "loader/pipeline/way.h"
#include "wloadfs/checkpoint.h"

/* Slots are read in whole blocks of up to this. */
#define FETCH_BLOCK_MAX 4096u

struct fetch_shard {
	int direct_fd;	      /* -1: none */
	uint32_t block;	      /* what offsets and lengths of direct reads are multiples of */
	atomic_bool refused;  /* a direct read was; not tried again */
	atomic_bool buffered; /* RWF_DONTCACHE was refused */
	atomic_bool probed;   /* bytes were asked for */
};

struct memory;

struct fetch {
	const struct wload_checkpoint *ckpt;
	enum wload_io asked;
	struct fetch_shard *shards;
	uint64_t page_bytes;
	struct memory *memory; /* told of reads that may fill the page cache; may be NULL */
	uint64_t sampled;      /* bits: places that fetch_mostly_cached() found uncached */
};

/* Opens each shard a second time for O_DIRECT, where it is to be had.
 *
 * ckpt  borrowed until fetch_close()
 *
 * Returns 0, -ENOMEM, or -EOPNOTSUPP when asked is WLOAD_IO_DIRECT and a shard's filesystem has
 * none (the message names it). fetch_close() either way. */
int fetch_open(struct fetch *fetch, const struct wload_checkpoint *ckpt, enum wload_io asked,
	       struct wload_error *err);
void fetch_close(struct fetch *fetch);

/* The way to read a range now. Any thread, as the rest. */
enum way fetch_way(const struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes);

/* After a range was read in another way than WAY_CACHED: drops what asking left of it. */
void fetch_forget(const struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes);

/* Would most of it be read out of the page cache? Looks at up to 64 places. One thread, once. */
bool fetch_mostly_cached(struct fetch *fetch);

/* Reads a range into a slot.
 *
 * way        how; set to how it was done, where the first was refused
 * slot       aligned to FETCH_BLOCK_MAX, with room for every block that the range touches
 * ret_bytes  where in the slot the range begins
 *
 * Returns 0, -ESTALE when the shard ends before it, -EIO, -ENOMEM. */
int fetch_read(struct fetch *fetch, enum way *way, uint32_t shard, uint64_t offset, uint64_t bytes,
	       uint8_t *slot, const uint8_t **ret_bytes, struct wload_error *err);

/* Pieces of rows. */
struct fetch_rows {
	uint64_t offset; /* of the first, in the shard */
	uint32_t rows, piece, stride;
};

/* Reads pieces into a slot that has room for all between the first and the last: with the gaps
 * between them or each by itself (way_reads_gaps()).
 *
 * ret_pitch  bytes from piece to piece in the slot
 *
 * Otherwise as fetch_read(). */
int fetch_read_rows(struct fetch *fetch, enum way *way, uint32_t shard,
		    const struct fetch_rows *rows, uint8_t *slot, const uint8_t **ret_bytes,
		    uint32_t *ret_pitch, struct wload_error *err);

/* Reads a range through the page cache into vectors, which together are as long as it; they are
 * used up. Returns as fetch_read(). */
int fetch_scatter(struct fetch *fetch, uint32_t shard, uint64_t offset, struct iovec *vectors,
		  int count, struct wload_error *err);

#endif
