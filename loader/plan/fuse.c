/* SPDX-License-Identifier: Apache-2.0 */
/* Joining modules into one: q_proj, k_proj, v_proj -> qkv_proj; and all experts' into one stack.
 *
 * A group is one stem with all modules of the rule (group.h). It is joined whole or not at all: an
 * engine that has qkv_proj.weight can do nothing with k_proj.weight_scale, nor with q_proj.bias
 * alone. So a group stays in its parts, with a note for the user, when a module holds a tensor
 * whose leaf the rule does not list (quantised: qweight, …, each with an axis of its own), when a
 * leaf is not in all of the modules, or when the parts disagree in data type or in the shape past
 * the first dimension; experts, in any. Leaves that are scalars in all of the modules become one
 * where the way that they are quantised is known (scheme.h); else they stay, but hinder nothing,
 * and those of experts are stacked.
 *
 * Groups are found by walking the tensors once: the first tensor of a group that comes by looks the
 * others up, and all of them are crossed off. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/also.h"
#include "loader/plan/fuse.h"
#include "loader/plan/group.h"
#include "loader/plan/own.h"
#include "loader/plan/scale.h"
#include "loader/plan/scheme.h"

/* Whether any, and the first that does not, of the modules has a leaf. */
static bool leaf_present(const struct group *g, size_t leaf, size_t *ret_missing)
{
	size_t count = (size_t)g->experts * g->from;
	bool present = false;

	*ret_missing = count;
	for (size_t i = count; i-- > 0;) {
		if (group_leaf(g, leaf)[i] == GROUP_NONE)
			*ret_missing = i;
		else
			present = true;
	}
	return present;
}

/* Of what "into" is called already there is nothing but itself: DeepSeek's kv_a_proj_with_mqa in
 * models without q_a_proj. */
static bool is_joined(const struct group *g)
{
	bool only = !g->rule->stacked && rules_names_contain(&g->rule->from, g->rule->into);

	for (size_t leaf = 0; only && leaf < g->rule->leaves.count; leaf++)
		for (size_t i = 0; only && i < (size_t)g->experts * g->from; i++)
			only = group_leaf(g, leaf)[i] == GROUP_NONE ||
			       !strcmp(g->rule->from.items[i % g->from], g->rule->into);
	return only;
}

/* What two parts disagree in, or NULL.
 *
 * first  the first dimension that must be equal */
static const char *difference(const struct wload_tensor *a, const struct wload_tensor *b,
			      uint32_t first)
{
	if (a->dtype != b->dtype)
		return "data type";
	if (a->rank != b->rank)
		return "rank";
	if (a->rank > first &&
	    memcmp(a->shape + first, b->shape + first, (a->rank - first) * sizeof(*a->shape)) != 0)
		return first ? "shape past the first dimension" : "shape";
	return NULL;
}

/* Whether one part of a leaf fits the others: the first part's, and of later experts, the first
 * expert's; notes why not. */
static bool part_joinable(struct draft *draft, const struct group *g, size_t leaf, size_t i)
{
	const uint32_t *parts = group_leaf(g, leaf);
	uint32_t of = i < g->from ? parts[0] : parts[i % g->from];
	struct wload_tensor first = draft_part(draft, of), t = draft_part(draft, parts[i]);
	const char *differ = difference(&first, &t, i < g->from);

	if (differ)
		draft_note(draft, STAYS "'%.*s' and '%.*s' differ in %s", STAYS_ARG(g),
			   DRAFT_SHOW(first.name), DRAFT_SHOW(t.name), differ);
	else if (draft->owner[draft_tensor(draft, parts[i])] != DRAFT_FREE)
		draft_note(draft, STAYS "another rule took '%.*s'", STAYS_ARG(g),
			   DRAFT_SHOW(t.name));
	else
		return true;
	return false;
}

/* Whether the rows of a leaf's parts can follow each other; notes why not. Returns 1, 0, -ENOMEM.
 */
static int rows_joinable(struct draft *draft, const struct group *g, size_t leaf,
			 struct wload_error *err)
{
	uint64_t rows = 0, rest;
	int r;

	for (size_t i = 0; i < g->from; i++) {
		uint32_t part = group_leaf(g, leaf)[i];
		struct wload_tensor t = draft_part(draft, part);

		r = scale_rest(draft, part, &rest, err);
		if (r < 0)
			return r;
		if (rest && i + 1 < g->from) {
			draft_note(draft, STAYS "'%.*s' scales %" PRIu64 " rows past a whole block",
				   STAYS_ARG(g), DRAFT_SHOW(t.name), rest);
			return 0;
		}
		if (t.rank > 0 && !checked_add(rows, t.shape[0], &rows)) {
			draft_note(draft, STAYS "it would have over 2^64 rows", STAYS_ARG(g));
			return 0;
		}
	}
	return 1;
}

/* Whether the checkpoint has a tensor of a name that is none of those that are joined. */
static bool name_taken(const struct draft *draft, const struct group *g, size_t leaf,
		       const char *name)
{
	uint32_t existing;

	if (wload_inventory_find(draft->inv, name, &existing) < 0)
		return false;
	for (size_t i = 0; i < g->from; i++)
		if (draft_tensor(draft, group_leaf(g, leaf)[i]) == existing)
			return false;
	return true;
}

static void note_missing(struct draft *draft, const struct group *g, size_t leaf, size_t missing)
{
	const char *module = g->rule->from.items[missing % g->from];
	const char *what = g->rule->leaves.items[leaf];

	if (g->rule->stacked)
		draft_note(draft, STAYS "expert %zu has no '%s.%s'", STAYS_ARG(g),
			   missing / g->from, module, what);
	else
		draft_note(draft, STAYS "'%s' has no '%s'", STAYS_ARG(g), module, what);
}

/* Whether a leaf may be joined; notes why not.
 *
 * ret_name  of the parameter to be; NULL: the leaf is not there, or stays
 *
 * Returns 1, 0, or -ENOMEM. */
static int leaf_joinable(struct draft *draft, const struct group *g, const struct scheme *scheme,
			 size_t leaf, char **ret_name, struct wload_error *err)
{
	size_t missing, count = (size_t)g->experts * g->from;
	int r;

	*ret_name = NULL;
	if (!leaf_present(g, leaf, &missing))
		return 1;
	if (missing < count) {
		note_missing(draft, g, leaf, missing);
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		if (!part_joinable(draft, g, leaf, i))
			return 0;
	r = rows_joinable(draft, g, leaf, err);
	if (r <= 0)
		return r;
	if (draft_part(draft, group_leaf(g, leaf)[0]).rank == 0 && !g->rule->stacked &&
	    scheme_way(scheme, draft, g, leaf).kind == WLOAD_STEP_MOVE)
		return 1;
	*ret_name = group_name(draft, g, g->rule, leaf);
	if (!*ret_name)
		return wload_fail(err, ENOMEM, "out of memory");
	if (!name_taken(draft, g, leaf, *ret_name))
		return 1;
	draft_note(draft, STAYS "the checkpoint has '%.*s' already", STAYS_ARG(g),
		   DRAFT_SHOW(*ret_name));
	return 0;
}

static int join_leaf(struct draft *draft, const struct group *g, const struct scheme *scheme,
		     size_t leaf, const char *name, struct wload_error *err)
{
	const struct scheme_way way = scheme_way(scheme, draft, g, leaf);
	const struct rules_fuse *rule = g->rule;
	const struct draft_join join = {
		.name = name,
		.parts = g->from,
		.experts = rule->stacked ? g->experts : 0,
		.every_rank = rules_names_contain(&rule->every_rank, rule->leaves.items[leaf]),
		.made_by = way.kind,
		.over_all = way.over_all,
		.rule = rule,
	};

	return draft_join(draft, &join, group_leaf(g, leaf), err);
}

static int apply_to_group(struct draft *draft, const struct group *g, const struct fuse *fuse,
			  struct wload_error *err)
{
	const struct scheme *scheme;
	char *names[RULES_LEAVES_MAX];
	size_t leaf;
	int r = 1;

	if (g->refused || is_joined(g))
		return 0;
	scheme = scheme_of(draft, g);
	for (leaf = 0; r > 0 && leaf < g->rule->leaves.count; leaf++)
		r = leaf_joinable(draft, g, scheme, leaf, &names[leaf], err);
	if (r <= 0)
		return r;
	for (leaf = 0; r >= 0 && leaf < g->rule->leaves.count; leaf++)
		if (names[leaf])
			r = join_leaf(draft, g, scheme, leaf, names[leaf], err);
	return r < 0 ? r : also_apply(draft, g, fuse, err);
}

int fuse_apply(struct draft *draft, const struct rules_fuse *rule, const struct fuse *fuse,
	       struct wload_error *err)
{
	const struct draft_note note = draft->note;
	uint32_t count = draft->tensor_count, i;
	bool *crossed_off CLEANUP_FREE = calloc(count ? count : 1, sizeof(*crossed_off));
	bool own = fuse->names == WLOAD_NAMES_HF;
	struct found found;
	struct find find;
	int r = 0;

	if (!crossed_off)
		return wload_fail(err, ENOMEM, "out of memory");
	find_init(&find, rule, fuse->rules, fuse->config);
	for (i = 0; r == 0 && i < count; i++) {
		const char *name = wload_inventory_tensor(draft->inv, i).name;
		struct group group CLEANUP(group_done) = {0};

		if (crossed_off[i] || rules_apart(fuse->rules, name) ||
		    !find_in(&find, name, &found))
			continue;
		r = group_collect(draft, &find, name, found.stem_len, crossed_off, &group, err);
		if (r == 0)
			r = own ? own_group(draft, &group, err)
				: apply_to_group(draft, &group, fuse, err);
	}
	if (own)
		draft->note = note;
	return r;
}
