/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PREFETCH_H
#define WLOADFS_PREFETCH_H

/* -o prefetch=SIZE: a thread reads tensors into the shards' own pages in the order in which a
 * loader needs them (the plan's), at most SIZE bytes ahead of what was consumed (credit.h). It
 * evicts nothing, reads single pages, which stay evictable one by one, and of a tensor that is
 * consumed it reads nothing. */

#include "fs/fs.h"

#define PREFETCH_BYTES_MIN (1u << 20)

/* Starts the thread where fs->asked asks for it. Returns 0 or -errno. */
int prefetch_start(struct wloadfs *fs);

/* Ends it and frees all. Nobody may be reading or consuming. */
void prefetch_stop(struct wloadfs *fs);

/* Tensors [first, end), all marked as consumed, are about to leave the page cache: gives their
 * credit back, and waits until none of them is being read (one piece at most). Any thread. */
void prefetch_consumed(struct wloadfs *fs, uint32_t first, uint32_t end);

/* Bytes of a shard were read, and left the page cache behind it. Any thread. */
void prefetch_was_read(struct wloadfs *fs, uint32_t shard, uint64_t offset, uint64_t len);

/* Consumed tensors are back: begins at the plan's beginning again. Waits for nothing. Any thread.
 */
void prefetch_restored(struct wloadfs *fs);

/* How many bytes may be read ahead, are now, and were in all; false without a prefetch. */
bool prefetch_numbers(struct wloadfs *fs, uint64_t *ret_limit_bytes, uint64_t *ret_ahead_bytes,
		      uint64_t *ret_read_bytes);

/* Appends what "prefetch" is in stats.json: null, or an object. */
void prefetch_json(struct wloadfs *fs, struct text *text);

#endif
