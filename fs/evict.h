/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_EVICT_H
#define WLOADFS_EVICT_H

/* Eviction of consumed tensors: which kernel caches hold them, and in which order they are cleared.
 *
 * Two caches: the shard's own pages (residency.h), and the FUSE pages of the tensor's inodes and of
 * served shards (served.h), where somebody mapped them. Invalidating FUSE pages waits for READs in
 * flight, and a READ needs one of our workers: done by a worker, it can deadlock. So there is one
 * thread beside them, the evictor, which invalidates, drops, and only then sends the reply that the
 * worker left to it. */

#include "fs/fs.h"

/* Drops the shard pages that this consumed tensor and its consumed neighbours leave to nobody. Any
 * thread. */
void evict_tensor(struct wloadfs *fs, uint32_t tensor);

/* The same for every consumed run of a shard, with the FUSE pages that its readers have of it
 * (served.h); updates its held bytes. Evictor only. */
void evict_shard(struct wloadfs *fs, uint32_t shard);

/* Makes the kernel ask again for the attributes of a tensor's inodes, and of those of parameters
 * that are made of it, in every tree: it may know
 * them under other names, and the last claim of a rank's takes the root's name away as well. Takes
 * no folder's lock, so it may come before a reply. Any thread. */
void evict_attributes(struct wloadfs *fs, uint32_t tensor);

/* Unmaps and drops the FUSE pages of these inodes, and of what ranks' checkpoints have of the
 * tensor: in a rank's tree, or, for CLAIMS_ROOT, in all. Evictor only. */
void evict_mapped(struct wloadfs *fs, uint32_t who, uint32_t tensor);

/* What the kernel was told of these inodes in the same trees: enum tensor_seen bits. */
uint8_t evict_seen(const struct wloadfs *fs, uint32_t who, uint32_t tensor);

/* Unmaps and drops what evict_tensor() would, from the inodes of its shard. Evictor only. */
void evict_served(struct wloadfs *fs, uint32_t tensor);

/* Has the evictor drop the consumed runs of a shard again, within a second. Any thread. */
void evict_later(struct wloadfs *fs, uint32_t shard);

/* A piece of work for the evictor. Embedded in what it works on; run() owns it from then on. */
struct evictor_job {
	struct evictor_job *next;
	void (*run)(struct wloadfs *fs, struct evictor_job *job);
};

/* Starts the thread. Returns 0 or -errno. */
int evictor_start(struct wloadfs *fs);

/* Queues a job. Jobs run one by one, in order; once the evictor was stopped, right here. */
void evictor_push(struct wloadfs *fs, struct evictor_job *job);

/* Makes the thread see whether there is something to look at, now or by time. Any thread. */
void evictor_wake(struct wloadfs *fs);

/* Finishes what is queued and ends the thread; again: does nothing. Workers must still be
 * answering, or the connection be gone: the thread may be waiting for a READ. */
void evictor_stop(struct wloadfs *fs);

/* Frees it, after evictor_stop(); where it never started, does nothing. */
void evictor_free(struct wloadfs *fs);

#endif
