/* SPDX-License-Identifier: Apache-2.0 */
/* A stem's names follow each other in the order of names, so a group is one walk over a range of
 * it; a stack's is walked twice, for the largest expert tells how large the table is. */

#include <errno.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/experts.h"
#include "loader/plan/group.h"
#include "loader/plan/scale.h"

int group_shown(const struct group *g)
{
	int shown = draft_shown(g->stem);

	return (size_t)shown < g->stem_len ? shown : (int)g->stem_len;
}

/* Where a walk over a group is. */
struct walk {
	struct draft *draft;
	struct group *group;
	bool *crossed_off;
	struct wload_error *err;
};

static void refuse_stranger(const struct walk *w, uint32_t tensor)
{
	draft_note(w->draft, STAYS "the rules do not cover '%.*s'", STAYS_ARG(w->group),
		   DRAFT_SHOW(wload_inventory_tensor(w->draft->inv, tensor).name));
	w->group->refused = true;
}

static size_t find_name(const struct rules_names *names, const char *name)
{
	size_t i;

	for (i = 0; i < names->count; i++)
		if (!strcmp(names->items[i], name))
			break;
	return i;
}

/* Enters a part, unless there is one already. */
static bool enter(const struct group *g, size_t leaf, const struct found *found, uint32_t place,
		  uint32_t part)
{
	uint32_t *slot = &group_leaf(g, leaf)[(size_t)found->expert * g->from + place];

	if (*slot != GROUP_NONE)
		return false;
	*slot = part;
	return true;
}

/* Makes STEM [EXPERT "."] MODULE "." LEAF in the arena: what a view is called. */
static char *view_name(const struct walk *w, const char *module, const struct found *found)
{
	const struct group *g = w->group;
	size_t before = g->stem_len;
	const char *p = g->stem;
	char *name;

	if (g->rule->stacked)
		before = (size_t)(found->leaf - 1 - strlen(found->module->name) - p);
	name = arena_take(w->draft->arena, before + strlen(module) + 1 + strlen(found->leaf) + 1);
	if (name)
		(void)stpcpy(stpcpy(stpcpy(mempcpy(name, p, before), module), "."), found->leaf);
	return name;
}

static void refuse_rows(const struct walk *w, const struct packed *packed,
			const struct wload_tensor *t)
{
	if (packed->lacks)
		draft_note(w->draft, STAYS "config.json tells no number as '%s'",
			   STAYS_ARG(w->group), packed->lacks);
	else
		draft_note(w->draft, STAYS "the rows of '%.*s' are not those of its parts",
			   STAYS_ARG(w->group), DRAFT_SHOW(t->name));
	w->group->refused = true;
}

/* Enters what a packed module's tensor holds. A scalar holds nothing of its parts and stays. */
static int enter_packed(const struct walk *w, uint32_t tensor, size_t leaf,
			const struct found *found)
{
	const struct packed *packed = found->module->packed;
	struct wload_tensor t = wload_inventory_tensor(w->draft->inv, tensor);
	int r = 0;

	if (t.rank == 0)
		return 0;
	if (!packed_fits(packed, &t)) {
		refuse_rows(w, packed, &t);
		return 0;
	}
	for (size_t i = 0; r == 0 && i < packed->rule->parts.count; i++) {
		const char *module = packed->rule->parts.items[i];
		char *name = view_name(w, module, found);
		uint32_t part;

		if (!name)
			return wload_fail(w->err, ENOMEM, "out of memory");
		r = packed_view(w->draft, packed, tensor, i, name, &part, w->err);
		for (uint32_t place = 0; r == 0 && place < w->group->from; place++)
			if (!strcmp(w->group->rule->from.items[place], module) &&
			    !enter(w->group, leaf, found, place, part))
				refuse_stranger(w, tensor);
	}
	return r;
}

/* Enters every expert's parts of a tensor that holds them all. */
static int enter_experts(const struct walk *w, uint32_t tensor, size_t leaf,
			 const struct found *found)
{
	const struct rules_experts *rule = found->experts;
	struct wload_tensor t = wload_inventory_tensor(w->draft->inv, tensor);
	struct found one = *found;
	int r = 0;

	if (!experts_fit(rule, &t, w->group->experts)) {
		draft_note(w->draft, STAYS "'%.*s' is not what the rules say of it",
			   STAYS_ARG(w->group), DRAFT_SHOW(t.name));
		w->group->refused = true;
		return 0;
	}
	for (; r == 0 && one.expert < w->group->experts; one.expert++)
		for (uint32_t i = 0; r == 0 && i < rule->parts.count; i++) {
			size_t place = find_name(&w->group->rule->from, rule->parts.items[i]);
			uint32_t part;

			r = experts_view(w->draft, rule, tensor, w->group->stem_len, one.expert, i,
					 &part, w->err);
			if (r == 0 && !w->group->refused &&
			    !enter(w->group, leaf, &one, (uint32_t)place, part))
				refuse_stranger(w, tensor);
		}
	return r;
}

static int enter_tensor(const struct walk *w, uint32_t tensor, const struct found *found)
{
	struct group *g = w->group;
	size_t leaf = find_name(&g->rule->leaves, found->leaf);

	w->crossed_off[tensor] = true;
	if (g->refused)
		return 0;
	if (leaf == g->rule->leaves.count || found->expert == RULES_EXPERTS_MAX)
		refuse_stranger(w, tensor);
	else if (found->experts)
		return enter_experts(w, tensor, leaf, found);
	else if (found->module->packed)
		return enter_packed(w, tensor, leaf, found);
	else if (!enter(g, leaf, found, found->module->part, tensor))
		refuse_stranger(w, tensor);
	return 0;
}

/* A part's view, or NULL. */
static struct draft_view *view_of(const struct draft *draft, uint32_t part)
{
	bool is_view = part != GROUP_NONE && part >= draft->tensor_count;

	return is_view ? &draft->views[part - draft->tensor_count] : NULL;
}

/* A scale's views learn whose they are, and all that is beside a weight that its rows are shared
 * out in blocks. */
static void pair_views(const struct draft *draft, const struct group *g)
{
	size_t weight = find_name(&g->rule->leaves, "weight"), count = (size_t)g->experts * g->from;

	if (weight == g->rule->leaves.count)
		return;
	for (size_t leaf = 0; leaf < g->rule->leaves.count; leaf++)
		for (size_t i = 0; leaf != weight && i < count; i++) {
			struct draft_view *view = view_of(draft, group_leaf(g, leaf)[i]);
			const struct draft_view *of = view_of(draft, group_leaf(g, weight)[i]);

			if (view && scale_leaf(g->rule->leaves.items[leaf]))
				view->weight = group_leaf(g, weight)[i];
			if (view && of)
				view->unit[0] = of->unit[0];
		}
}

static const char *name_at(const struct draft *draft, uint32_t name_rank, uint32_t *ret_tensor)
{
	*ret_tensor = wload_inventory_by_name(draft->inv, name_rank);
	return wload_inventory_tensor(draft->inv, *ret_tensor).name;
}

static uint32_t count_experts(const struct draft *draft, const struct group *g, uint32_t rank,
			      uint32_t end)
{
	uint32_t experts = 1, tensor;
	struct found found;

	for (; g->rule->stacked && rank < end; rank++) {
		uint64_t count;

		if (!find_behind(g->find, name_at(draft, rank, &tensor), g->stem_len, &found))
			continue;
		count = (uint64_t)found.expert + 1;
		if (found.experts)
			count = experts_count(wload_inventory_tensor(draft->inv, tensor));
		if (count > experts && count <= RULES_EXPERTS_MAX)
			experts = (uint32_t)count;
	}
	return experts;
}

int group_collect(struct draft *draft, const struct find *find, const char *name, size_t stem_len,
		  bool *crossed_off, struct group *ret, struct wload_error *err)
{
	struct walk w = {.draft = draft, .group = ret, .crossed_off = crossed_off, .err = err};
	struct found found;
	uint32_t rank, end, tensor;
	size_t count;
	int r = 0;

	*ret = (struct group){.find = find,
			      .rule = find->rule,
			      .stem = name,
			      .stem_len = stem_len,
			      .from = (uint32_t)find->rule->from.count};
	wload_inventory_prefix(draft->inv, name, stem_len, &rank, &end);
	ret->experts = count_experts(draft, ret, rank, end);
	count = find->rule->leaves.count * ret->experts * ret->from;
	ret->parts = malloc(count * sizeof(*ret->parts));
	if (!ret->parts)
		return wload_fail(err, ENOMEM, "out of memory");
	memset(ret->parts, 0xff, count * sizeof(*ret->parts)); /* GROUP_NONE */
	for (; r == 0 && rank < end; rank++) {
		const char *other = name_at(draft, rank, &tensor);

		if (find_behind(find, other, stem_len, &found))
			r = enter_tensor(&w, tensor, &found);
	}
	if (r == 0)
		pair_views(draft, ret);
	return r;
}

char *group_name(struct draft *draft, const struct group *g, const struct rules_fuse *rule,
		 size_t leaf)
{
	const char *leaf_name, *joint = rules_joint(rule, g->rule->leaves.items[leaf], &leaf_name);
	char *name = arena_take(draft->arena, g->stem_len + strlen(rule->into) + strlen(joint) +
						      strlen(leaf_name) + 1);

	if (name)
		(void)stpcpy(stpcpy(stpcpy(mempcpy(name, g->stem, g->stem_len), rule->into), joint),
			     leaf_name);
	return name;
}

void group_done(struct group *g)
{
	free(g->parts);
	g->parts = NULL;
}
