/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_SCALE_H
#define WLOAD_PLAN_SCALE_H

/* Scales: tensors that hold a value for each block of their module's weight. Where a weight is cut
 * or joined, so are they, in blocks. */

#include "loader/plan/draft.h"

/* Whether a leaf is a scale's ("weight_scale"), of the leaf "weight" beside it. */
bool scale_leaf(const char *leaf);

/* The part that a part is the scale of: its module's "weight".
 *
 * Returns 1, 0 when it is no scale, or its module has no weight, or -ENOMEM. */
int scale_weight(const struct draft *draft, uint32_t part, uint32_t *ret_weight,
		 struct wload_error *err);

/* How many elements of a weight's dimension share a value of its scale's.
 *
 * Returns false when the sizes don't tell: they are neither equal, nor in blocks of
 * WLOAD_SCALE_BLOCK with the last one short, nor is one a multiple of the other. */
bool scale_block(uint64_t weight, uint64_t scale, uint64_t *ret_block);

/* Rows of a weight past its last whole block, 0 where the part is no scale: what is joined behind
 * it would begin inside a block.
 *
 * Returns 0 or -ENOMEM. */
int scale_rest(const struct draft *draft, uint32_t part, uint64_t *ret_rest,
	       struct wload_error *err);

#endif
