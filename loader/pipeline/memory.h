/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MEMORY_H
#define WLOAD_MEMORY_H

/* How much host memory a load takes: a thread that looks again and again, and keeps the most.
 *
 *   this process's resident bytes, less what it had when the device was open
 * + for each shard the page cache it has now, less what it had before, where that is more
 * + the daemon's resident bytes, on a mount
 *
 * On the host device the parameters themselves are resident memory of this process, and count. */

#include <stdint.h>

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

/* Starts looking.
 *
 * ckpt            borrowed until memory_stop()
 * baseline_bytes  resident bytes when the device was open
 * daemon_pid      0: none
 *
 * Returns 0, or -ENOMEM / -EAGAIN when there can be no thread. */
int memory_start(const struct wload_checkpoint *ckpt, uint64_t baseline_bytes, int daemon_pid,
		 struct memory **ret_memory, struct wload_error *err);

/* The last sum that was seen, and the largest. Any thread. */
uint64_t memory_now(const struct memory *memory);
uint64_t memory_peak(const struct memory *memory);

/* Looks once more, ends the thread and frees. Returns the peak; 0 for NULL. */
uint64_t memory_stop(struct memory *memory);

#endif
