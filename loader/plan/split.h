/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_SPLIT_H
#define WLOAD_PLAN_SPLIT_H

/* What one rank of several has of a tensor. */

#include "loader/plan/config.h"
#include "loader/plan/rules.h"

/* Who asks. */
struct split {
	const struct wload_rules *rules; /* not looked at with tp 1 */
	const struct config *config;
	uint32_t tp;   /* 1: everything is whole */
	uint32_t rank; /* below tp */
};

struct split_part {
	bool cut; /* false: the whole tensor; dim and length mean nothing */
	uint32_t dim;
	uint64_t length;	    /* of that dimension, in the part */
	struct wload_source source; /* but for its tensor and dst_offset */
};

/* Works a tensor's part out.
 *
 * Returns 0, -EINVAL when the dimension can't be split for so many ranks, -EOPNOTSUPP when the
 * rules do not say how it is split or its pieces would not be whole bytes, -E2BIG when it would be
 * 2^32 pieces or more; each names the rank, the tensor, and the dimension with its size. */
int split_tensor(const struct split *split, const struct wload_tensor *tensor,
		 struct split_part *ret_part, struct wload_error *err);

#endif
