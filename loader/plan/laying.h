/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_LAYING_H
#define WLOAD_PLAN_LAYING_H

/* A plan being laid down (lay.h): what the ways to lay down a join share. */

#include "loader/plan/lay.h"
#include "loader/plan/split.h"

struct laying {
	struct wload_plan *plan;
	const struct draft *draft;
	struct split split;	     /* of all that is no expert */
	struct split expert_split;   /* of each expert that the rank has */
	uint32_t expert_rank;	     /* which share of the experts that is */
	struct wload_source *source; /* the next free one of plan->sources */
	struct laid *laid;	     /* by parameter */
};

/* The experts of a stack that this rank has, or what a plain join stands for: one. */
void laying_experts(const struct laying *l, const struct draft_join *join, uint32_t *ret_first,
		    uint32_t *ret_count);

/* The parts of one of a join's experts. */
const uint32_t *laying_parts(const struct laying *l, const struct draft_join *join,
			     uint32_t expert);

/* What the rank has of one of a join's parts. Returns as split_part(). */
int laying_cut(const struct laying *l, const struct draft_join *join, uint32_t part,
	       struct split_part *ret, struct wload_error *err);

/* What the rank has of part `i` of an expert, as it has of the first of its own: experts are alike,
 * but where one is in a tensor of all. */
struct wload_source laying_source(const struct laying *l, const struct draft_join *join,
				  const struct split_part *cut, uint32_t i, uint32_t expert);

/* A dimension of what the rank has of a part. */
uint64_t laying_dim(const struct wload_tensor *t, const struct split_part *part, uint32_t dim);

/* Adds what a rank has of a part to a parameter, as the next of plan->sources.
 *
 * Returns 0, -E2BIG. */
int laying_add(struct laying *l, const struct split_part *cut, uint32_t part,
	       struct wload_param *param, struct wload_error *err);

/* Gives a parameter its sources, a copy in the arena, and counts them and its bytes.
 *
 * Returns 0, -E2BIG, -ENOMEM. */
int laying_keep(struct laying *l, struct wload_param *param, const struct wload_source *sources,
		size_t count, struct wload_error *err);

/* Lays down a join that keeps the name and the order of the tensor that it is of. */
int lay_down_own(struct laying *l, const struct draft_join *join, struct wload_error *err);

/* Lays down what a rule of "also" makes. */
int lay_down_also(struct laying *l, const struct draft_join *join, struct wload_error *err);

/* Lays down a stack that steps make.
 *
 * cut    what the rank has of its first expert's parts
 * param  has its name, type and shape */
int lay_down_staged(struct laying *l, const struct draft_join *join, const struct split_part *cut,
		    struct wload_param *param, struct wload_error *err);

#endif
