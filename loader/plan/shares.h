/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_SHARES_H
#define WLOAD_PLAN_SHARES_H

/* Equal shares of a dimension. */

#include "loader/plan/split.h"

/* What `rank` of `tp` has of a dimension of `size`: shares are rounded up, so the last ranks may
 * have less, or nothing; a size of 1 is everybody's. */
struct split_range shares_range(uint64_t size, uint32_t tp, uint32_t rank);

/* The same of blocks of `unit` elements, of which the last may be short; no rank has a part of one,
 * and a single one is the first rank's. With a unit of 0 or 1 as above. */
struct split_range shares_blocks(uint64_t size, uint64_t unit, uint32_t tp, uint32_t rank);

/* The same among as many ranks as divide the blocks that a part's weight is quantised in: the
 * greatest common divisor of both. Each share is then several ranks', those of the same remainder.
 *
 * Returns 0, -EINVAL when the size is no whole number of blocks, or -ENOMEM. */
int shares_divisor(const struct split *split, uint32_t part, uint32_t dim,
		   struct split_range *ret_range, struct wload_error *err);

#endif
