/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_ROWS_H
#define WLOAD_ROWS_H

/* Does what a step says to a box of its indexes, where all that it reads is in memory. Pure.
 *
 * An operand is where its elements are: the one that belongs to the box's first indexes, and how
 * far it is to the next in each dimension; in halves of bytes. Of a scale an element is what a
 * block of indexes shares, and `begin` of the box says where in their blocks the first ones are. */

#include <stdint.h>

#include "loader/transform/box.h"

struct operand {
	const uint8_t *bytes;
	uint64_t first, stride[WLOAD_STEP_DIMS];
};

struct rows {
	const struct wload_step *step;
	struct box box;
	struct operand in, scale;
	uint64_t reduce_stride; /* halves of bytes, of `in` */
	float scale_2;		/* of the step itself */
	float largest;		/* of all those that it shares a scale_2 with */
	uint8_t *out;
	uint64_t out_first, out_stride[WLOAD_STEP_DIMS];
};

/* The largest of some values; NaN where one is. */
float rows_largest(enum wload_dtype dtype, const uint8_t *first, uint64_t stride_bytes,
		   uint64_t count);

/* Runs the box, which is not empty. Returns 0, or -EBADMSG when values differ that must not. */
int rows_run(const struct rows *rows, struct wload_error *err);

#endif
