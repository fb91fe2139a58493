/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_DRAFT_H
#define WLOAD_PLAN_DRAFT_H

/* What becomes of each tensor, while the rules are applied one after the other.
 *
 * Every tensor starts free. A rule may claim free tensors: to leave them out, or to join them into
 * one parameter. What is still free at the end is a parameter of its own. No tensor is claimed
 * twice, so whatever the rules say, the plan uses each tensor once or not at all. */

#include "loader/plan/arena.h"
#include "wloadfs/plan.h"

#define DRAFT_FREE     UINT32_MAX	/* owner[]: nobody's yet */
#define DRAFT_LEFT_OUT (UINT32_MAX - 1) /* owner[]: of no parameter */

/* Parts joined end to end along their first dimension. */
struct draft_join {
	const char *name;      /* in the arena, as is shape */
	const uint64_t *shape; /* rank dimensions */
	uint32_t rank;
	uint32_t parts;	     /* how many tensors */
	uint32_t first_part; /* index in draft.parts; they are in order there */
};

/* Something for the user to know: the first of its kind in words, the rest as a number. */
struct draft_note {
	char text[WLOAD_ERROR_TEXT]; /* "": nothing yet */
	uint32_t more;
};

struct draft {
	const struct wload_inventory *inv;
	struct arena *arena;
	uint32_t *owner; /* of each tensor: an index in joins, or one of the above */
	uint32_t left_out;
	struct draft_join *joins;
	size_t join_count, join_cap;
	uint32_t *parts; /* tensor indexes */
	size_t part_count, part_cap;
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

/* Joins free tensors into a parameter; name and shape are in the arena.
 *
 * Returns 0, or -ENOMEM with nothing claimed. */
int draft_join(struct draft *draft, const char *name, const uint64_t *shape, uint32_t rank,
	       const uint32_t *tensors, uint32_t count, struct wload_error *err);

/* Notes one thing for the user: a line, in which control bytes become '?'. */
void draft_note(struct draft *draft, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A tensor's name in a note: "%.*s" with DRAFT_SHOW(name), cut where it is very long. */
#define DRAFT_SHOW(name) draft_shown(name), (name)

int draft_shown(const char *name);

#endif
