/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_SPLIT_H
#define WLOAD_PLAN_SPLIT_H

/* What one rank of several has of a part. */

#include "loader/plan/config.h"
#include "loader/plan/draft.h"
#include "loader/plan/rules.h"

/* Who asks. */
struct split {
	const struct draft *draft;
	const struct wload_rules *rules; /* not looked at with tp 1 */
	const struct config *config;
	enum wload_layout layout;
	uint32_t tp;		       /* 1: everything is whole */
	uint32_t rank;		       /* below tp */
	uint32_t shown_rank, shown_tp; /* who that is of all ranks: an expert has fewer */
};

/* Elements [start, start + length) of a dimension. */
struct split_range {
	uint64_t start, length;
};

struct split_part {
	bool cut; /* false: the whole tensor; dim, start and length mean nothing */
	uint32_t dim;
	uint64_t start, length; /* of that dimension, in the part */
	uint64_t rest;		/* cut along 0, a scale: rows of its weight past a whole block */
	/* But for its dst_offset. Of a part that is staged (draft.h) the bytes that hold it, with
	 * those of the parts that it is interleaved with. */
	struct wload_source source;
};

/* Works out what the rank has of a part, by the split rule that fits its name, or with `along` in
 * the way that it says.
 *
 * Returns 0, -EINVAL when the dimension can't be split for so many ranks, -EOPNOTSUPP when the
 * rules do not say how it is split or its pieces would not be whole bytes, -E2BIG when it would be
 * 2^32 pieces or more; each names the rank, the tensor, and the dimension with its size; -ENOMEM.
 */
int split_part(const struct split *split, uint32_t part, struct split_part *ret_part,
	       struct wload_error *err);
int split_part_along(const struct split *split, uint32_t part, const struct along *along,
		     struct split_part *ret_part, struct wload_error *err);

/* Fails with "rank 1 of 3: tensor 'NAME' …". */
int split_fail(const struct split *split, const char *name, int code, struct wload_error *err,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
