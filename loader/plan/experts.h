/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_EXPERTS_H
#define WLOAD_PLAN_EXPERTS_H

/* Tensors that hold all experts of a layer: what of one is whose. */

#include "loader/plan/draft.h"

/* Rows from this many bytes on are placed, each by itself, where parts are interleaved; shorter
 * ones are left to a step. */
#define EXPERTS_ROW_BYTES 512

/* How many experts a tensor is of: its first dimension, or 0. */
static inline uint64_t experts_count(struct wload_tensor tensor)
{
	return tensor.rank ? tensor.shape[0] : 0;
}

/* Whether a tensor can be what a rule says of it, of so many experts. */
bool experts_fit(const struct rules_experts *rule, const struct wload_tensor *tensor,
		 uint32_t experts);

/* Adds a view of one of the parts of one expert of a tensor that fits.
 *
 * stem_len  what of the tensor's name is before the expert's number in the view's
 * index     of the part
 *
 * Returns 0, -E2BIG, -ENOMEM. */
int experts_view(struct draft *draft, const struct rules_experts *rule, uint32_t tensor,
		 size_t stem_len, uint32_t expert, uint32_t index, uint32_t *ret_part,
		 struct wload_error *err);

#endif
