/* SPDX-License-Identifier: Apache-2.0 */
/* Beside what a group is joined into, a part of it as a parameter by itself, with the heads as a
 * dimension of its own:
 *
 *   k_b_proj [heads * nope, lora]  ->  k_b_proj_trans [heads, lora, nope]
 *
 * It shares its bytes with the joined one, and costs no read. */

#include <inttypes.h>
#include <errno.h>
#include <string.h>

#include "loader/plan/also.h"

#define WITHOUT "'%.*s%s' is not made: "

struct making {
	struct draft *draft;
	const struct group *group;
	const struct rules_fuse *rule;
	uint32_t place; /* of its part in the group's "from" */
	uint64_t each;
};

static bool find_place(struct making *m)
{
	const struct rules_names *from = &m->group->rule->from;

	for (m->place = 0; m->place < from->count; m->place++)
		if (!strcmp(from->items[m->place], m->rule->from.items[0]))
			return true;
	return false;
}

static bool find_each(struct making *m, const struct config *config)
{
	const struct rules_share *each = &m->rule->each;

	m->each = each->number;
	if (!each->key || (config_count(config, each->key, &m->each) && m->each))
		return true;
	draft_note(m->draft, WITHOUT "config.json tells no number as '%s'", group_shown(m->group),
		   m->group->stem, m->rule->into, each->key);
	return false;
}

static uint32_t part_of(const struct making *m, size_t leaf)
{
	return group_leaf(m->group, leaf)[m->place];
}

/* Whether the rows can be shared out, and elements change places; notes why not. Bytes that hold
 * two values do so along a row. */
static bool leaf_fits(const struct making *m, size_t leaf)
{
	struct wload_tensor t = draft_part(m->draft, part_of(m, leaf));
	const struct wload_dtype_desc *type = wload_dtype_describe(t.dtype);
	bool elements = type->bits >= 8 && t.dtype != WLOAD_DTYPE_U8;

	if (t.shape[0] % m->each != 0)
		draft_note(m->draft,
			   WITHOUT "%" PRIu64 " do not divide the %" PRIu64 " rows of '%.*s'",
			   group_shown(m->group), m->group->stem, m->rule->into, m->each,
			   t.shape[0], DRAFT_SHOW(t.name));
	else if (m->rule->transpose && t.rank > 1 && (!elements || t.rank > 2))
		draft_note(m->draft, WITHOUT "'%.*s' of %s can't be transposed",
			   group_shown(m->group), m->group->stem, m->rule->into, DRAFT_SHOW(t.name),
			   type->name);
	else
		return true;
	return false;
}

static bool has_leaf(const struct making *m, size_t leaf)
{
	return rules_names_contain(&m->rule->leaves, m->group->rule->leaves.items[leaf]) &&
	       part_of(m, leaf) != GROUP_NONE && draft_part(m->draft, part_of(m, leaf)).rank > 0;
}

static int make_leaf(const struct making *m, size_t leaf, struct wload_error *err)
{
	struct draft_join join = {.parts = 1, .rule = m->rule, .each = m->each};
	uint32_t part = part_of(m, leaf), existing;

	join.name = group_name(m->draft, m->group, m->rule, leaf);
	if (!join.name)
		return wload_fail(err, ENOMEM, "out of memory");
	if (wload_inventory_find(m->draft->inv, join.name, &existing) == 0) {
		draft_note(m->draft, WITHOUT "the checkpoint has '%.*s' already",
			   group_shown(m->group), m->group->stem, m->rule->into,
			   DRAFT_SHOW(join.name));
		return 0;
	}
	return draft_join(m->draft, &join, &part, err);
}

static int make(struct making *m, const struct config *config, struct wload_error *err)
{
	size_t count = m->group->rule->leaves.count, leaf;
	int r = 0;

	if (!find_place(m) || !find_each(m, config))
		return 0;
	for (leaf = 0; leaf < count; leaf++)
		if (has_leaf(m, leaf) && !leaf_fits(m, leaf))
			return 0;
	for (leaf = 0; r == 0 && leaf < count; leaf++)
		if (has_leaf(m, leaf))
			r = make_leaf(m, leaf, err);
	return r;
}

int also_apply(struct draft *draft, const struct group *group, const struct fuse *fuse,
	       struct wload_error *err)
{
	const struct wload_rules *rules = fuse->rules;
	int r = 0;

	for (size_t i = 0; r == 0 && !group->rule->stacked && i < rules->also_count; i++) {
		struct making m = {.draft = draft, .group = group, .rule = &rules->also[i]};

		if (rules_layout_fits(m.rule->layouts, fuse->layout) &&
		    !strcmp(m.rule->within, group->rule->within))
			r = make(&m, fuse->config, err);
	}
	return r;
}
