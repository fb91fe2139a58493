/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules that join make is called, and that no two of them can make the same. */

#include <errno.h>
#include <string.h>

#include "loader/plan/rules_made.h"

/* Whether `text` ends with the components `tail`. */
static bool ends_with(const char *text, const char *tail)
{
	size_t len = strlen(text), tail_len = strlen(tail);

	if (tail_len > len || strcmp(text + len - tail_len, tail))
		return false;
	return tail_len == len || text[len - tail_len - 1] == '.';
}

bool rules_same_name(const struct rules_fuse *a, const struct rules_fuse *b)
{
	return rules_layouts_meet(a->layouts, b->layouts) && !strcmp(a->into, b->into) &&
	       (ends_with(a->within, b->within) || ends_with(b->within, a->within));
}

const char *rules_joint(const struct rules_fuse *rule, const char *leaf, const char **ret_leaf)
{
	static const char weight[] = "weight";

	*ret_leaf = leaf;
	if (!rule->also)
		return rule->stacked ? "_" : ".";
	if (strncmp(leaf, weight, sizeof(weight) - 1) != 0)
		return "_";
	*ret_leaf += sizeof(weight) - 1;
	return "";
}

/* What a rule makes of a leaf, without what is before it. */
static void spell_made(const struct rules_fuse *rule, const char *leaf, char *to)
{
	const char *joint = rules_joint(rule, leaf, &leaf);

	to = stpcpy(stpcpy(to, rule->within), ".");
	(void)stpcpy(stpcpy(stpcpy(to, rule->into), joint), leaf);
}

/* Whether two rules could make parameters of the same name by one leaf or another. */
static bool make_same(const struct rules_fuse *a, const struct rules_fuse *b, char *ret_name)
{
	char other[3 * RULES_NAME_MAX + 3];

	for (size_t i = 0; rules_layouts_meet(a->layouts, b->layouts) && i < a->leaves.count; i++)
		for (size_t j = 0; j < b->leaves.count; j++) {
			spell_made(a, a->leaves.items[i], ret_name);
			spell_made(b, b->leaves.items[j], other);
			if (ends_with(ret_name, other) || ends_with(other, ret_name))
				return true;
		}
	return false;
}

/* A rule that makes something, by number over all kinds of them; NULL past the last. */
static const struct rules_fuse *maker(const struct wload_rules *rules, size_t i)
{
	if (i < rules->fuse_count)
		return &rules->fuse[i];
	i -= rules->fuse_count;
	if (i < rules->stack_count)
		return &rules->stack[i];
	i -= rules->stack_count;
	return i < rules->also_count ? &rules->also[i] : NULL;
}

int rules_check_made(const struct wload_rules *rules, const char *what, struct wload_error *err)
{
	char name[3 * RULES_NAME_MAX + 3];
	const struct rules_fuse *a;

	for (size_t i = 0; (a = maker(rules, i)); i++)
		for (size_t j = 0; j < i; j++)
			if (make_same(a, maker(rules, j), name))
				return wload_fail(err, EBADMSG,
						  "'%s': two rules make '%s', one of them into "
						  "'%.64s'",
						  what, name, a->into);
	return 0;
}
