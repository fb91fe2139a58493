/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_STAGING_H
#define WLOAD_PLAN_STAGING_H

/* Parameters that are made of others' bytes: one staging area for all that is needed, and the boxes
 * that a parameter's bytes are.
 *
 *   operands   [weight            ]      [weight_scale  ]   [weight_scale_2]
 *   staging    [sources of it     ]gap[sources of it ]gap[sources of it]
 *              ^ at[0]            ^ at[1], a multiple of 16 bytes
 *
 * Pure. */

#include "loader/plan/lay.h"

#define STAGING_ALIGN	 16
#define STAGING_OPERANDS 3 /* of one parameter, at most */

struct staging {
	struct wload_source *sources;
	uint32_t source_count;
	uint64_t source_bytes, bytes;
	uint64_t at[STAGING_OPERANDS]; /* each operand's first byte */
};

/* Lays the sources of operands, as they are laid down in their own parameters, one behind the
 * other.
 *
 * Returns 0, -E2BIG over 2^64 bytes or 2^32 sources, -ENOMEM. */
int staging_lay(struct arena *arena, const struct wload_param *const *operands, size_t count,
		struct staging *ret, struct wload_error *err);

/* Gives a parameter a staging area, and steps; those that make nothing are left out. Where none is
 * left, the parameter is empty, and keeps its own sources. */
void staging_use(struct wload_param *param, const struct staging *staging, struct wload_step *steps,
		 uint32_t step_count);

/* What a parameter is laid down as, its staging area where it has steps: elements. */
uint64_t staging_elements(const struct wload_param *param);

/* What makes a parameter of its staged bytes, or, where it has no steps, would: a step of each
 * expert and part, that moves it from where it is to there. Dimensions are the shape's, the last
 * one last.
 *
 * laid   of the parameter
 * flat   elements in a row are one dimension
 *
 * Returns 0, -EOPNOTSUPP when it has more dimensions than a step; -ENOMEM. */
int staging_boxes(struct arena *arena, const struct wload_param *param, const struct laid *laid,
		  bool flat, struct wload_step **ret_steps, uint32_t *ret_count,
		  struct wload_error *err);

/* Expert and part that a box is of; false when they are not boxes of those of a join. */
bool staging_place(const struct laid *laid, uint32_t boxes, uint32_t index, uint32_t *ret_expert,
		   uint32_t *ret_part);

#endif
