/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_SERVED_H
#define WLOADFS_SERVED_H

/* Shards that we serve, and the FUSE pages that their readers leave.
 *
 * A shard that is not passed through has pages of its own in each FUSE inode by which it is read
 * (several names of the checkpoint may be one shard, each is an inode): where somebody mapped it,
 * or where files are opened cached. Unlike those of a passthrough mapping they can be taken from a
 * mapping: unmapped, dropped, and faulted in again by who still looks. They outlive handles and
 * mappings, so a shard that was once opened served counts for as long as the mount stands. */

#include <stdbool.h>
#include <stdint.h>

#include "fs/own.h"

struct wloadfs;

/* The names of each shard. Fixed after served_init(), but for the flags. */
struct served {
	uint32_t *first;      /* of each shard: its first entry in struct own, or OWN_NONE */
	uint32_t *next;	      /* of each entry: the next one of the same shard, or OWN_NONE */
	_Atomic bool *opened; /* of each entry: it was opened served */
	_Atomic bool *shard;  /* of each shard: one of its names was */
	_Atomic bool *dead;   /* of each shard: some of its pages are, or were, dead */
};

/* Returns 0 or -ENOMEM; served_free() takes what there is in both cases. */
int served_init(struct served *served, const struct own *own, uint32_t shards);
void served_free(struct served *served);

/* An entry is about to be opened, not passed through. To be called before the kernel may have
 * pages. */
void served_opened(struct wloadfs *fs, uint32_t entry);

/* May the kernel have FUSE pages of this shard? Then whoever consumes leaves the work to the
 * evictor. Any thread. */
bool served_any(const struct wloadfs *fs, uint32_t shard);

/* Unmaps and drops [lo, hi) of a shard from all inodes that it was opened by. Evictor only: it
 * waits for READs in flight. */
void served_invalidate(struct wloadfs *fs, uint32_t shard, uint64_t lo, uint64_t hi);

/* After a READ of an entry: has what it read of dead bytes dropped at the next look (evict.h),
 * since the reply that brings them to the reader can't be taken back. Any thread. */
void served_after_read(struct wloadfs *fs, uint32_t entry, uint64_t offset, uint64_t len);

#endif
