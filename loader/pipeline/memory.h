/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MEMORY_H
#define WLOAD_MEMORY_H

/* How much host memory a load takes: a thread that looks again and again, and keeps the most.
 *
 *   this process's resident bytes, less what it had when the device was open
 * + for each shard that was read through the page cache what is cached of it now, less what was
 *   before the first such read, where that is more
 * + the daemon's resident bytes, on a mount
 *
 * On the host device the parameters themselves are resident memory of this process, and count. */

#include <stdint.h>

#include "loader/pipeline/timeline.h"
#include "wloadfs/checkpoint.h"

/* One look at it. */
struct memory_look {
	uint64_t resident, baseline; /* of this process */
	uint64_t cache;		     /* added to the shards */
	uint64_t daemon;	     /* resident */
};

static inline uint64_t memory_sum(const struct memory_look *look)
{
	return (look->resident > look->baseline ? look->resident - look->baseline : 0) +
	       look->cache + look->daemon;
}

struct memory;

/* A shard is about to be read in a way that may cache more of it. The first time what is cached is
 * counted, and from then on it is watched. Shards that are copied out of the page cache, or read
 * past it, are not: the kernel takes 60 ms to count 12 GB of small pages. Any thread; NULL is fine.
 */
void memory_watch(struct memory *memory, uint32_t shard);

/* Starts looking.
 *
 * ckpt            borrowed until memory_stop(), as device_bytes and timeline are
 * baseline_bytes  resident bytes when the device was open
 * daemon_pid      0: none
 * device_bytes    what has arrived, counted by others
 * timeline        empty; gets every look, memory_stop() ends it
 *
 * Returns 0, or -ENOMEM / -EAGAIN when there can be no thread. */
int memory_start(const struct wload_checkpoint *ckpt, uint64_t baseline_bytes, int daemon_pid,
		 const _Atomic uint64_t *device_bytes, struct timeline *timeline,
		 struct memory **ret_memory, struct wload_error *err);

/* The last sum that was seen, and the largest. Any thread. */
uint64_t memory_now(const struct memory *memory);
uint64_t memory_peak(const struct memory *memory);

/* Looks once more, ends the thread and frees. Returns the peak; 0 for NULL. */
uint64_t memory_stop(struct memory *memory);

#endif
