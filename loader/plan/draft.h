/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_DRAFT_H
#define WLOAD_PLAN_DRAFT_H

/* What becomes of each tensor, while the rules are applied one after the other.
 *
 * Every tensor starts free. A rule may claim free tensors: to leave them out, or to join them, or
 * parts of them, into one parameter. What is still free at the end is a parameter of its own. What
 * has an owner may be a part of other parameters too, where a rule of "also" says so.
 *
 * A part is a number: a tensor's index, or, from the count of tensors on, a view, which stands for
 * some rows of a tensor that holds several parts in one (an already fused qkv_proj):
 *
 *   tensor  |offset|piece|        |piece|        |piece|        count pieces
 *                  |<-- stride -->|
 *
 * To whoever asks draft_part() it is a tensor like any other, with a name of its own. */

#include "loader/plan/arena.h"
#include "loader/plan/rules.h"

#define DRAFT_FREE     UINT32_MAX	/* owner[]: nobody's yet */
#define DRAFT_LEFT_OUT (UINT32_MAX - 1) /* owner[]: of no parameter */

struct draft_view {
	uint32_t tensor;
	struct wload_tensor part;	/* as if it were stored by itself; not offset and shard */
	uint32_t weight;		/* of a scale: the view that it scales; else DRAFT_FREE */
	uint64_t count;			/* of pieces, at least 1 */
	uint64_t offset, piece, stride; /* bytes */

	/* Where that would be pieces too small to place, or columns, steps make the part:
	 *
	 *   element [i, j]   offset + (i * of + at) * row + j * width
	 *   transposed       offset + (i * of + at) * width + j * row
	 *
	 * in bytes; `at` is which of the `of` interleaved parts this is, width that of an element.
	 * count, piece and stride mean nothing then. */
	bool staged, transposed;
	bool one_of_all; /* an expert of a tensor that holds them all */
	uint32_t of, at;
	uint64_t row;

	/* Elements of each dimension that no rank has a part of: those that share a scale where
	 * they are quantised, and of rows as many, for those are the next layer's columns. 0: 1 */
	uint64_t unit[2];
};

/* Parts joined end to end along their first dimension; of a stack, those of each expert, and the
 * experts along a dimension before it. */
struct draft_join {
	const char *name;	      /* in the arena */
	uint32_t parts;		      /* how many; of a stack, of one expert */
	uint32_t experts;	      /* 0: no stack */
	bool every_rank;	      /* each rank has all experts */
	enum wload_step_kind made_by; /* what its parts need; WLOAD_STEP_MOVE: nothing */
	bool over_all;		      /* of a stack of values: one of all experts is made */
	uint32_t first_part; /* index in draft.parts; they are in order there, by experts */
	const struct rules_fuse *rule;

	/* It is one tensor by its own name: its parts are all that the rank has of it, and their
	 * order is the tensor's. `expert` is which of the stack's it is, DRAFT_ALL_EXPERTS where it
	 * holds them all. */
	bool own;
	uint32_t expert;

	/* Of a rule of "also": among how many its one part's rows are shared out, a dimension
	 * before them; else 0. */
	uint64_t each;
};

#define DRAFT_ALL_EXPERTS UINT32_MAX

/* How many experts a join's parts are of, at least 1. */
static inline uint32_t draft_join_experts(const struct draft_join *join)
{
	bool one = !join->experts || (join->own && join->expert != DRAFT_ALL_EXPERTS);

	return one ? 1 : join->experts;
}

/* Something for the user to know: the first of its kind in words, the rest as a number. */
struct draft_note {
	char text[WLOAD_ERROR_TEXT]; /* "": nothing yet */
	uint32_t more;
};

struct draft {
	const struct wload_inventory *inv;
	uint32_t tensor_count;
	struct arena *arena;
	uint32_t *owner;	   /* of each tensor: the first of its joins, or one of the above */
	uint32_t left_out, joined; /* how many tensors */
	struct draft_join *joins;
	size_t join_count, join_cap;
	uint32_t *parts;
	size_t part_count, part_cap;
	struct draft_view *views;
	size_t view_count, view_cap;
	struct draft_note note;
};

/* Starts a draft with every tensor free.
 *
 * arena  holds names and shapes of joins; borrowed, and outlives the draft
 *
 * Returns 0, or -ENOMEM. */
int draft_init(struct draft *draft, const struct wload_inventory *inv, struct arena *arena,
	       struct wload_error *err);

void draft_done(struct draft *draft);

/* Leaves a free tensor out of the plan. */
void draft_leave_out(struct draft *draft, uint32_t tensor);

/* Adds a view, whose name and shape are in the arena.
 *
 * Returns 0, -E2BIG when there are 2^32 parts, -ENOMEM. */
int draft_add_view(struct draft *draft, const struct draft_view *view, uint32_t *ret_part,
		   struct wload_error *err);

/* A part as a tensor; its view, or NULL; the tensor that it is of. */
struct wload_tensor draft_part(const struct draft *draft, uint32_t part);
const struct draft_view *draft_view(const struct draft *draft, uint32_t part);
uint32_t draft_tensor(const struct draft *draft, uint32_t part);

/* Joins parts of tensors into a parameter, `join->parts` for each expert.
 *
 * join  but for first_part; its rule is borrowed
 *
 * Returns 0, -E2BIG when there are 2^32 parts, or -ENOMEM, with nothing claimed. */
int draft_join(struct draft *draft, const struct draft_join *join, const uint32_t *parts,
	       struct wload_error *err);

/* Notes one thing for the user: a line, in which control bytes become '?'. */
void draft_note(struct draft *draft, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A tensor's name in a note: "%.*s" with DRAFT_SHOW(name), cut where it is very long. */
#define DRAFT_SHOW(name) draft_shown(name), (name)

int draft_shown(const char *name);

#endif
