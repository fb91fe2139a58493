/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CONSUMED_H
#define WLOADFS_CONSUMED_H

/* Which tensors are consumed, and which bytes of a shard are therefore dead: policy, without I/O.
 *
 * A bit for each tensor, in disk order. Tensors tile a shard's data, so a run of set bits is a run
 * of dead bytes, and merging a tensor with its consumed neighbours is a scan for the next clear
 * bit, 64 tensors a step. A tensor without a byte keeps nothing alive, so it never ends a run; only
 * the header stays until it is consumed, too. Pages that a dead run covers only partly belong to a
 * live neighbour as well, until that one goes too.
 *
 * The bits are read without a lock (a lookup asks for one); setting, clearing and runs happen under
 * the owner's. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/tensor.h"

struct consumed {
	const struct wload_inventory *inv; /* borrowed */
	_Atomic uint64_t *bits;
	uint64_t *empty;  /* tensors of no bytes; never changed */
	uint32_t tensors; /* consumed now */
	uint64_t bytes;	  /* of those */
};

/* Returns 0 or -ENOMEM. */
int consumed_init(struct consumed *consumed, const struct wload_inventory *inv);
void consumed_free(struct consumed *consumed);

bool consumed_has(const struct consumed *consumed, uint32_t tensor);

/* Each returns whether the state changed. Lock held. */
bool consumed_set(struct consumed *consumed, uint32_t tensor);
bool consumed_clear(struct consumed *consumed, uint32_t tensor);

/* A run of tensors that are consumed or empty, [first, end) in disk order. */
struct consumed_run {
	uint32_t first, end;
};

/* The run around a consumed tensor, between tensors `lo` and `hi` (its shard's). Lock held. */
struct consumed_run consumed_run_around(const struct consumed *consumed, uint32_t tensor,
					uint32_t lo, uint32_t hi);

/* The next run in [from, hi); false when there is none. Lock held. */
bool consumed_next_run(const struct consumed *consumed, uint32_t from, uint32_t hi,
		       struct consumed_run *ret);

/* Where a shard's tensors lie. */
struct shard_extent {
	uint32_t first, end; /* its tensors */
	uint64_t bytes;	     /* of the file */
};

/* A range of whole pages of a shard, in bytes from the file's start; empty when lo == hi. */
struct page_range {
	uint64_t lo, hi;
};

/* The whole pages that a run leaves to nobody: rounded inwards to page_bytes, except where it
 * reaches the file's end; all of the file, header included, when every tensor is in it. */
struct page_range consumed_dead_pages(const struct consumed *consumed, struct consumed_run run,
				      const struct shard_extent *shard, uint64_t page_bytes);

/* Cuts dead to what lies within `reach` bytes of tensor's own pages; a whole file stays whole. */
struct page_range consumed_near(struct page_range dead, const struct wload_tensor *tensor,
				uint64_t reach, uint64_t page_bytes);

#endif
