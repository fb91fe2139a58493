/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_BOX_H
#define WLOAD_BOX_H

/* Boxes of a step's indexes, and which of them make given bytes of its parameter.
 *
 * All places are counted in halves of bytes here, so that 4-bit elements are as any other. They are
 * sums of products modulo 2^64: one that begins "before" the parameter with a `begin` that brings
 * it back is right. Pure. */

#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/transform.h"

struct box {
	uint64_t begin[WLOAD_STEP_DIMS], size[WLOAD_STEP_DIMS];
};

/* Halves of bytes of one element: of what the step reads, and of what it writes. */
unsigned int box_in_width(const struct wload_step *step);
unsigned int box_out_width(const struct wload_step *step);

/* The type of its scales, which most kinds fix. */
enum wload_dtype box_scale_dtype(const struct wload_step *step);

/* All of a step; no index where one of its sizes is 0. */
struct box box_of(const struct wload_step *step);
bool box_empty(const struct box *box);

/* The dimension along which elements of REQUANTISE_NVFP4_WEIGHT share a scale. */
unsigned int box_group_dim(const struct wload_step *step);

/* Gets boxes that together touch all of a window.
 *
 * part  it is one element, of which the window has some bytes only
 *
 * Returns 0 to go on. */
typedef int (*box_visitor)(void *ctx, const struct box *box, bool part);

/* Finds the elements of a step's box that lie in bytes [lo, hi) of the parameter, and those that
 * lie there partly. Each is in one of the boxes.
 *
 * Returns 0, or what `visit` did. */
int box_narrow(const struct wload_step *step, const struct box *box, uint64_t lo, uint64_t hi,
	       box_visitor visit, void *ctx);

#endif
