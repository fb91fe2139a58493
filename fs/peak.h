/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PEAK_H
#define WLOADFS_PEAK_H

/* How much of the checkpoint the page cache has, and the most that it had.
 *
 * The kernel keeps no peak of a file's pages, so they are counted now and then: when stats are
 * asked for, before something is evicted, and once a second by the evictor while anything is read
 * or a shard is open. Counting takes as long as there is much to count (a step a page or folio), so
 * whoever is not asked waits 50 times as long as the last count took: 2 % of a CPU at most. Large
 * checkpoints on kernels without cachestat are counted only when stats are asked for. */

#include <stdint.h>

#include "fs/fs.h"

/* Counts now.
 *
 * Returns 0 with the bytes of all shards, or -errno (pagecache_bytes()) of a shard that would not
 * say, with those of the others. */
int peak_count(struct wloadfs *fs, uint64_t *ret_bytes);

/* The most that was ever counted. */
uint64_t peak_bytes(const struct wloadfs *fs);

/* Counts, if it is time to. Any thread. */
void peak_sample(struct wloadfs *fs);

/* Something was opened or read: wakes the evictor for its looks. */
void peak_touch(struct wloadfs *fs);

/* Is the evictor to look once a second? */
bool peak_is_watched(const struct wloadfs *fs);

/* The evictor's look. */
void peak_look(struct wloadfs *fs);

#endif
