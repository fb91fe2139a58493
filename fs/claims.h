/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CLAIMS_H
#define WLOADFS_CLAIMS_H

/* Who still needs which tensor: policy, without I/O.
 *
 * A mount has one claimant, itself, or with -o ranks=N the N ranks that load from it. Every tensor
 * has a claim of each of them. A rank that is done with a tensor drops its own claim; the mount's
 * root speaks for all and drops every one. With the last claim the tensor is consumed:
 *
 *             tensor 0  1  2  3
 *     rank 0         x  .  x  .      x: dropped
 *     rank 1         x  x  .  .
 *     consumed       x  .  .  .
 *
 * Bits are read without a lock; changing them happens under the owner's. */

#include "fs/consumed.h"

#define CLAIMS_RANKS_MAX 256u

/* Who: the mount as a whole, or rank R as R + 1. */
#define CLAIMS_ROOT 0u

struct claims {
	struct consumed consumed; /* nobody needs them any more */
	struct consumed *dropped; /* by each rank; NULL without ranks */
	uint16_t *left; /* of each tensor: ranks that still claim it; NULL without ranks */
	uint32_t ranks;
};

/* ranks  0: none, the root alone consumes; at most CLAIMS_RANKS_MAX
 *
 * Returns 0 or -ENOMEM; claims_free() either way. */
int claims_init(struct claims *claims, const struct wload_inventory *inv, uint32_t ranks);
void claims_free(struct claims *claims);

/* What one claimant is done with: for the root, what is consumed. */
const struct consumed *claims_of(const struct claims *claims, uint32_t who);

/* Is this claimant done with a tensor? */
static inline bool claims_done(const struct claims *claims, uint32_t who, uint32_t tensor)
{
	return consumed_has(claims_of(claims, who), tensor);
}

enum claims_change {
	CLAIMS_SAME,	 /* the claimant had dropped it before */
	CLAIMS_DROPPED,	 /* others need the tensor still */
	CLAIMS_CONSUMED, /* that was the last claim */
};

/* Drops a claimant's claim of a tensor; the root's drops all. Lock held. */
enum claims_change claims_drop(struct claims *claims, uint32_t who, uint32_t tensor);

/* Brings back a claimant's claim, the root's brings back all, and with it the tensor. Returns
 * whether the claimant's view changed. Lock held. */
bool claims_restore(struct claims *claims, uint32_t who, uint32_t tensor);

/* How many claims of a tensor are left; without ranks there is one, the mount's. Lock held, or the
 * count may be a moment old. */
uint32_t claims_left(const struct claims *claims, uint32_t tensor);

#endif
