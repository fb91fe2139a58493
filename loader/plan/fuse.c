/* SPDX-License-Identifier: Apache-2.0 */
/* Joining modules into one: q_proj, k_proj, v_proj -> qkv_proj.
 *
 *   model.layers.0.self_attn.q_proj.weight
 *   '------- stem ---------' part   leaf
 *
 * A group is one stem with all modules of the rule. It is joined whole or not at all: an engine
 * that has qkv_proj.weight can do nothing with k_proj.weight_scale, nor with q_proj.bias alone. So
 * a group stays in its parts, with a note for the user, when a module holds a tensor whose leaf the
 * rule does not list (quantised: qweight, weight_scale, …, each with an axis of its own), when a
 * leaf is not in all of the modules, or when the parts disagree in data type or in the shape past
 * the first dimension. Leaves that are scalars in all of the modules can't be joined and stay, but
 * hinder nothing: to list one is to say so.
 *
 * Groups are found by walking the tensors once: the first tensor of a group that comes by looks the
 * others up, by prefix in the order of names, and all of them are crossed off. */

#include <errno.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/fuse.h"

#define NO_TENSOR UINT32_MAX

struct group {
	const struct rules_fuse *rule;
	const char *stem; /* with its last dot; borrowed from a tensor's name */
	size_t stem_len;
	uint32_t tensors[RULES_LEAVES_MAX][RULES_PARTS_MAX]; /* or NO_TENSOR */
};

/* How every note starts: a format for STAYS_ARG. */
#define STAYS	     "'%.*s%s' stays in its parts: "
#define STAYS_ARG(g) shown_stem(g), (g)->stem, (g)->rule->into

static int shown_stem(const struct group *g)
{
	int shown = draft_shown(g->stem);

	return (size_t)shown < g->stem_len ? shown : (int)g->stem_len;
}

/* The component of a name after the one at p, or NULL. */
static const char *next_component(const char *p)
{
	p = strchr(p, '.');
	return p ? p + 1 : NULL;
}

/* Finds "within.part." in a name; returns the length of what is before the part, 0: not in it. */
static size_t find_stem(const struct rules_fuse *rule, const char *name)
{
	size_t within_len = strlen(rule->within), part_len, i;
	const char *p, *part;

	for (p = name; p; p = next_component(p)) {
		if (strncmp(p, rule->within, within_len) || p[within_len] != '.')
			continue;
		part = p + within_len + 1;
		for (i = 0; i < rule->from.count; i++) {
			part_len = strlen(rule->from.items[i]);
			if (!strncmp(part, rule->from.items[i], part_len) && part[part_len] == '.')
				return (size_t)(part - name);
		}
	}
	return 0;
}

/* Writes STEM MODULE "." LEAF. */
static void spell(char *to, const struct group *g, const char *module, const char *leaf)
{
	to = mempcpy(to, g->stem, g->stem_len);
	to = stpcpy(to, module);
	*to++ = '.';
	(void)stpcpy(to, leaf);
}

static size_t find_leaf(const struct rules_fuse *rule, const char *leaf)
{
	size_t i;

	for (i = 0; i < rule->leaves.count; i++)
		if (!strcmp(rule->leaves.items[i], leaf))
			break;
	return i;
}

/* Enters all tensors of a module into the group and crosses them off.
 *
 * ret_stranger  a tensor whose leaf is not in the rule, if there is one */
static int collect_part(struct draft *draft, struct group *g, size_t part, bool *crossed_off,
			uint32_t *ret_stranger, struct wload_error *err)
{
	const char *module = g->rule->from.items[part];
	size_t prefix_len = g->stem_len + strlen(module) + 1, leaf;
	char *prefix CLEANUP_FREE = malloc(prefix_len + 1);
	uint32_t rank, end, tensor;

	if (!prefix)
		return wload_fail(err, ENOMEM, "out of memory");
	spell(prefix, g, module, "");
	wload_inventory_prefix(draft->inv, prefix, prefix_len, &rank, &end);
	for (; rank < end; rank++) {
		tensor = wload_inventory_by_name(draft->inv, rank);
		crossed_off[tensor] = true;
		leaf = find_leaf(g->rule,
				 wload_inventory_tensor(draft->inv, tensor).name + prefix_len);
		if (leaf < g->rule->leaves.count)
			g->tensors[leaf][part] = tensor;
		else if (*ret_stranger == NO_TENSOR)
			*ret_stranger = tensor;
	}
	return 0;
}

static int collect(struct draft *draft, struct group *g, bool *crossed_off, uint32_t *ret_stranger,
		   struct wload_error *err)
{
	size_t part;
	int r;

	memset(g->tensors, 0xff, sizeof(g->tensors)); /* NO_TENSOR */
	*ret_stranger = NO_TENSOR;
	for (part = 0; part < g->rule->from.count; part++) {
		r = collect_part(draft, g, part, crossed_off, ret_stranger, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether any, and the first that does not, of the modules has a leaf. */
static bool leaf_present(const struct group *g, size_t leaf, size_t *ret_missing)
{
	bool present = false;
	size_t part;

	*ret_missing = g->rule->from.count;
	for (part = g->rule->from.count; part-- > 0;) {
		if (g->tensors[leaf][part] == NO_TENSOR)
			*ret_missing = part;
		else
			present = true;
	}
	return present;
}

/* What two parts disagree in, or NULL. */
static const char *difference(const struct wload_tensor *a, const struct wload_tensor *b)
{
	if (a->dtype != b->dtype)
		return "data type";
	if (a->rank != b->rank)
		return "rank";
	if (a->rank > 1 && memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof(*a->shape)))
		return "shape past the first dimension";
	return NULL;
}

/* Whether the tensors of a leaf that every module has may be joined; notes why not. */
static bool leaf_joinable(struct draft *draft, const struct group *g, size_t leaf)
{
	struct wload_tensor first = wload_inventory_tensor(draft->inv, g->tensors[leaf][0]), t;
	uint64_t rows = 0;
	const char *differ;
	size_t part;

	for (part = 0; part < g->rule->from.count; part++) {
		t = wload_inventory_tensor(draft->inv, g->tensors[leaf][part]);
		differ = difference(&first, &t);
		if (differ) {
			draft_note(draft, STAYS "'%.*s' and '%.*s' differ in %s", STAYS_ARG(g),
				   DRAFT_SHOW(first.name), DRAFT_SHOW(t.name), differ);
			return false;
		}
		if (draft->owner[g->tensors[leaf][part]] != DRAFT_FREE) {
			draft_note(draft, STAYS "another rule took '%.*s'", STAYS_ARG(g),
				   DRAFT_SHOW(t.name));
			return false;
		}
		if (t.rank > 0 && !checked_add(rows, t.shape[0], &rows)) {
			draft_note(draft, STAYS "it would have over 2^64 rows", STAYS_ARG(g));
			return false;
		}
	}
	return true;
}

/* Makes the name of what a leaf becomes, in the arena. */
static char *joined_name(struct draft *draft, const struct group *g, size_t leaf)
{
	const char *into = g->rule->into, *leaf_name = g->rule->leaves.items[leaf];
	char *name =
		arena_take(draft->arena, g->stem_len + strlen(into) + 1 + strlen(leaf_name) + 1);

	if (name)
		spell(name, g, into, leaf_name);
	return name;
}

/* Whether the whole group may be joined; notes why not.
 *
 * names  of the parameters to be, by leaf; NULL: the leaf stays
 *
 * Returns 1, 0, or -ENOMEM. */
static int group_joinable(struct draft *draft, const struct group *g, char **ret_names,
			  struct wload_error *err)
{
	size_t leaf, missing;
	uint32_t existing;

	for (leaf = 0; leaf < g->rule->leaves.count; leaf++) {
		ret_names[leaf] = NULL;
		if (!leaf_present(g, leaf, &missing))
			continue;
		if (missing < g->rule->from.count) {
			draft_note(draft, STAYS "'%s' has no '%s'", STAYS_ARG(g),
				   g->rule->from.items[missing], g->rule->leaves.items[leaf]);
			return 0;
		}
		if (!leaf_joinable(draft, g, leaf))
			return 0;
		if (wload_inventory_tensor(draft->inv, g->tensors[leaf][0]).rank == 0)
			continue;
		ret_names[leaf] = joined_name(draft, g, leaf);
		if (!ret_names[leaf])
			return wload_fail(err, ENOMEM, "out of memory");
		if (wload_inventory_find(draft->inv, ret_names[leaf], &existing) == 0) {
			draft_note(draft, STAYS "the checkpoint has '%.*s' already", STAYS_ARG(g),
				   DRAFT_SHOW(ret_names[leaf]));
			return 0;
		}
	}
	return 1;
}

static int join_leaf(struct draft *draft, const struct group *g, size_t leaf, const char *name,
		     struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(draft->inv, g->tensors[leaf][0]);
	uint64_t *shape = arena_take(draft->arena, t.rank * sizeof(*shape));
	uint32_t parts = (uint32_t)g->rule->from.count, part;

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, t.shape, t.rank * sizeof(*shape));
	for (part = 1; part < parts; part++)
		shape[0] += wload_inventory_tensor(draft->inv, g->tensors[leaf][part]).shape[0];
	return draft_join(draft, name, shape, t.rank, g->tensors[leaf], parts, err);
}

static int apply_to_group(struct draft *draft, struct group *g, bool *crossed_off,
			  struct wload_error *err)
{
	char *names[RULES_LEAVES_MAX];
	uint32_t stranger;
	size_t leaf;
	int r;

	r = collect(draft, g, crossed_off, &stranger, err);
	if (r < 0)
		return r;
	if (stranger != NO_TENSOR) {
		draft_note(draft, STAYS "the rules do not cover '%.*s'", STAYS_ARG(g),
			   DRAFT_SHOW(wload_inventory_tensor(draft->inv, stranger).name));
		return 0;
	}
	r = group_joinable(draft, g, names, err);
	if (r <= 0)
		return r;
	for (leaf = 0; r >= 0 && leaf < g->rule->leaves.count; leaf++)
		if (names[leaf])
			r = join_leaf(draft, g, leaf, names[leaf], err);
	return r < 0 ? r : 0;
}

int fuse_apply(struct draft *draft, const struct rules_fuse *rule, struct wload_error *err)
{
	uint32_t count = wload_inventory_count(draft->inv), i;
	bool *crossed_off CLEANUP_FREE = calloc(count ? count : 1, sizeof(*crossed_off));
	struct group g = {.rule = rule};
	int r;

	if (!crossed_off)
		return wload_fail(err, ENOMEM, "out of memory");
	for (i = 0; i < count; i++) {
		if (crossed_off[i])
			continue;
		g.stem = wload_inventory_tensor(draft->inv, i).name;
		g.stem_len = find_stem(rule, g.stem);
		if (g.stem_len == 0)
			continue;
		r = apply_to_group(draft, &g, crossed_off, err);
		if (r < 0)
			return r;
	}
	return 0;
}
