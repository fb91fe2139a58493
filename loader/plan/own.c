/* SPDX-License-Identifier: Apache-2.0 */
/* Each such tensor becomes a join of its own parts, in its own name: what joins parts of several
 * tensors elsewhere joins here those of one. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/own.h"

/* A tensor of a group, and its parts among those of one leaf. */
struct owned {
	struct draft_join join;
	uint32_t tensor;
	size_t count;
	uint32_t *parts;
};

/* Collects the parts of a tensor, the first of which is the one at `i`; those of each expert follow
 * each other. */
static void collect(const struct draft *draft, const struct group *g, size_t leaf, size_t i,
		    struct owned *own)
{
	size_t all = (size_t)g->experts * g->from;
	const uint32_t *parts = group_leaf(g, leaf);

	own->count = 0;
	if (parts[i] == own->tensor) { /* it has but one */
		own->parts[own->count++] = parts[i];
		return;
	}
	for (; i < all; i++)
		if (parts[i] != GROUP_NONE && draft_tensor(draft, parts[i]) == own->tensor)
			own->parts[own->count++] = parts[i];
}

static int claim(struct draft *draft, const struct group *g, size_t leaf, size_t i,
		 struct owned *own, struct wload_error *err)
{
	const struct rules_fuse *rule = g->rule;
	uint32_t part = group_leaf(g, leaf)[i];
	const struct draft_view *view = draft_view(draft, part);
	bool all = view && view->one_of_all;

	own->tensor = draft_tensor(draft, part);
	if (draft->owner[own->tensor] != DRAFT_FREE || (!rule->stacked && !view))
		return 0;
	collect(draft, g, leaf, i, own);
	own->join = (struct draft_join){
		.name = wload_inventory_tensor(draft->inv, own->tensor).name,
		.parts = (uint32_t)(all ? own->count / g->experts : own->count),
		.experts = rule->stacked ? g->experts : 0,
		.expert = all ? DRAFT_ALL_EXPERTS : (uint32_t)(i / g->from),
		.every_rank = rules_names_contain(&rule->every_rank, rule->leaves.items[leaf]),
		.own = true,
		.rule = rule,
	};
	return draft_join(draft, &own->join, own->parts, err);
}

int own_group(struct draft *draft, const struct group *g, struct wload_error *err)
{
	size_t all = (size_t)g->experts * g->from;
	struct owned own = {.count = 0};
	uint32_t *parts CLEANUP_FREE = NULL;
	int r = 0;

	if (g->refused)
		return 0;
	parts = malloc(all * sizeof(*parts));
	if (!parts)
		return wload_fail(err, ENOMEM, "out of memory");
	own.parts = parts;
	for (size_t leaf = 0; leaf < g->rule->leaves.count; leaf++)
		for (size_t i = 0; r == 0 && i < all; i++)
			if (group_leaf(g, leaf)[i] != GROUP_NONE)
				r = claim(draft, g, leaf, i, &own, err);
	return r;
}
