/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_SCHEME_H
#define WLOAD_PLAN_SCHEME_H

/* Ways to quantise whose parts can't be joined by placing them alone: each part has one value of
 * its own (a scalar) where the joined parameter is to have one for all of it. */

#include "loader/plan/group.h"

/* What becomes of the parts of a leaf that are joined. */
struct scheme_way {
	enum wload_step_kind kind; /* WLOAD_STEP_MOVE: they are placed, and no more */
	bool over_all;		   /* one value of all experts, not one of each */
};

struct scheme;

/* The scheme of a group, or NULL: its parts are placed. */
const struct scheme *scheme_of(const struct draft *draft, const struct group *group);

/* What becomes of a leaf of the group. scheme may be NULL. */
struct scheme_way scheme_way(const struct scheme *scheme, const struct draft *draft,
			     const struct group *group, size_t leaf);

#endif
