/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_QUANTISED_H
#define WLOAD_PLAN_QUANTISED_H

/* A quantised weight: in which format, and which of its scales is of which of its elements. */

#include "loader/plan/convert.h"

/* A way to quantise. */
struct quantised_format {
	enum wload_dtype weight, scale, other_scale;
	bool second;	/* it has a scale of scales, F32 */
	bool halves;	/* two elements a byte */
	uint32_t block; /* elements of a row that share a scale; 0: told by the shapes */
	enum wload_step_kind kind;
};

/* One weight, its scales, and the scale of those. */
struct quantised {
	struct convert *c;
	uint32_t index;
	const struct wload_param *param;
	struct wload_param scale; /* with as many dimensions as the weight */
	const struct wload_param *second;
	struct convert_scales found;
	const struct quantised_format *format;
	struct staging staging;
	uint64_t told[2]; /* elements of a column, of a row, that share a scale; 0: not told */
	bool one_a_part;  /* a scale for each part, not for blocks */
};

/* Tells the format of a weight, whose scale and second are set, and what its scales are of.
 *
 * Returns 0, -EOPNOTSUPP when it is none that is known, or the dimensions do not tell; -ENOMEM. */
int quantised_read(struct quantised *weight, struct wload_error *err);

/* Elements of a dimension of a box of the weight that share a scale, or 0: the sizes do not tell.
 *
 * scales  the size of that dimension of the scales' box */
uint64_t quantised_block(const struct quantised *weight, unsigned int dim, uint64_t elements,
			 uint64_t scales);

#endif
