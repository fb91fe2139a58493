/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_STEPS_H
#define WLOAD_STEPS_H

/* What a step reads: which operands its kind has, and where they lie. Pure. */

#include "loader/transform/pieces.h"
#include "loader/transform/rows.h"

/* Whether elements are multiplied by scales. */
bool steps_scaled(enum wload_step_kind kind);

/* Single values of F32 in the staged bytes that a kind needs; strides are in bytes. */
struct steps_values {
	bool own; /* the step's own scale_2, at: */
	uint64_t own_at;
	uint64_t all_count; /* 0, or of how many the largest is taken */
	uint64_t all_at, all_stride;
};

struct steps_values steps_values(const struct wload_step *step);

/* The elements that a box reads, and its scales. Of NVFP4 whole groups are read: *ret_before is how
 * far the box's first element is behind the grid's, in the group's dimension. */
struct grid steps_grid(const struct wload_step *step, const struct box *box, uint64_t *ret_before);
struct grid steps_scale_grid(const struct wload_step *step, const struct box *box);

/* Where the first element of a box belongs: halves of bytes from the parameter's first. */
uint64_t steps_out(const struct wload_step *step, const struct box *box);

/* Sets strides of what is written. */
void steps_out_strides(const struct wload_step *step, uint64_t ret_strides[WLOAD_STEP_DIMS]);

/* Sets a box's operands to staged bytes that are all in memory, and its single values. */
void steps_in_memory(const struct wload_step *step, const uint8_t *staged, struct rows *rows);

/* Says of which parameter a step failed. Returns the error. */
int steps_fail(const struct wload_param *param, const struct wload_step *step,
	       const struct wload_error *why, struct wload_error *err);

#endif
