/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_GROUP_H
#define WLOAD_PLAN_GROUP_H

/* All that one stem has of what a rule joins (find.h): a table of parts, by leaf, expert and place
 * in "from". */

#include "loader/plan/find.h"

#define GROUP_NONE UINT32_MAX /* no such part */

struct group {
	const struct find *find;
	const struct rules_fuse *rule;
	const char *stem; /* with its last dot; borrowed from a tensor's name */
	size_t stem_len;
	uint32_t from, experts; /* how many; 1 expert where the rule stacks nothing */
	uint32_t *parts;
	bool refused; /* it was noted why */
};

/* How every note starts: a format for STAYS_ARG. */
#define STAYS	     "'%.*s%s' stays in its parts: "
#define STAYS_ARG(g) group_shown(g), (g)->stem, (g)->rule->into

int group_shown(const struct group *group);

/* Collects the group that begins with name's first stem_len bytes, and crosses its tensors off.
 *
 * crossed_off  by tensor
 *
 * Returns 0, -E2BIG, -ENOMEM; group_done() either way. */
int group_collect(struct draft *draft, const struct find *find, const char *name, size_t stem_len,
		  bool *crossed_off, struct group *ret, struct wload_error *err);

void group_done(struct group *group);

/* Makes the name of what a rule makes of a leaf, in the arena; NULL when memory is short.
 *
 * rule  the group's, or one that is for a part of it */
char *group_name(struct draft *draft, const struct group *group, const struct rules_fuse *rule,
		 size_t leaf);

/* The parts of a leaf: "from" of expert 0, of expert 1, … */
static inline uint32_t *group_leaf(const struct group *group, size_t leaf)
{
	return group->parts + leaf * group->experts * group->from;
}

#endif
