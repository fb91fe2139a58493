/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_LAY_H
#define WLOAD_PLAN_LAY_H

/* A plan, and how its parameters get into it. */

#include "loader/plan/config.h"
#include "loader/plan/draft.h"
#include "loader/plan/rules.h"

/* plan.uses[]: no parameter of this rank needs it, but one of another does. */
#define LAY_ELSEWHERE UINT32_MAX

struct wload_plan {
	struct arena arena; /* names, shapes, steps, some sources, family, note */
	struct wload_param *params;
	struct wload_source *sources; /* of most parameters, in their order */
	uint32_t *uses;		      /* by tensor */
	uint32_t tensor_count, count;
	uint32_t tp, ep, rank;
	enum wload_layout layout;
	enum wload_names names;
	uint64_t bytes;
	const char *family;
	const char *note; /* NULL: nothing to say */
};

/* What a parameter was laid down from, for those who work on it after. */
struct laid {
	const struct draft_join *join; /* NULL: a tensor by itself */
	const uint64_t
		*rows; /* of each part of a join, of one expert; values that are stacked: 1 */
};

/* Lays down one rank's parameters of a draft: every parameter and source is in one of two arrays,
 * about 100 bytes a tensor, and 4 for its uses; sources of parameters that steps make, or that are
 * by their own names and more than a slice, are in the arena. Names and shapes of parameters that
 * are one whole tensor are the inventory's own.
 *
 * plan   has its tensor_count, tp, ep, rank and layout
 * rules  what is split how; not looked at with tp 1
 * laid   room for as many as the parameters can be: the draft's tensors and joins
 *
 * Returns 0, -EINVAL when ep does not divide a stack's experts, -ENOMEM, -E2BIG, or what
 * split_part() says. */
int lay_down(struct wload_plan *plan, const struct draft *draft, const struct wload_rules *rules,
	     const struct config *config, struct laid *laid, struct wload_error *err);

#endif
