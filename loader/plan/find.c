/* SPDX-License-Identifier: Apache-2.0 */
/* Names are compared component by component, from the left; nothing is kept between names. */

#include <string.h>

#include "loader/plan/find.h"

/* Index of a name in a list, or its count. */
static size_t index_of(const struct rules_names *names, const char *name)
{
	size_t i;

	for (i = 0; i < names->count; i++)
		if (!strcmp(names->items[i], name))
			break;
	return i;
}

/* What holds several parts counts for a rule that joins all of them. */
static bool holds_parts_of(const char *within, const struct rules_names *parts,
			   const struct rules_fuse *rule)
{
	if (strcmp(within, rule->within) != 0)
		return false;
	for (size_t i = 0; i < parts->count; i++)
		if (!rules_names_contain(&rule->from, parts->items[i]))
			return false;
	return true;
}

static struct find_module *add_module(struct find *find, const char *name)
{
	struct find_module *module = &find->modules[find->module_count++];

	*module = (struct find_module){.name = name, .len = strlen(name)};
	return module;
}

void find_init(struct find *find, const struct rules_fuse *rule, const struct wload_rules *rules,
	       const struct config *config)
{
	size_t i, packed = 0;

	*find = (struct find){.rule = rule, .within_len = strlen(rule->within)};
	for (i = 0; i < rule->from.count; i++)
		add_module(find, rule->from.items[i])->part = (uint32_t)i;
	for (i = 0; i < rules->packed_count && packed < FIND_PACKED_MAX; i++) {
		if (!holds_parts_of(rules->packed[i].within, &rules->packed[i].parts, rule) ||
		    index_of(&rule->from, rules->packed[i].module) < rule->from.count)
			continue;
		packed_init(&find->packed[packed], &rules->packed[i], config);
		add_module(find, rules->packed[i].module)->packed = &find->packed[packed++];
	}
	for (i = 0; rule->stacked && i < rules->experts_count; i++)
		if (holds_parts_of(rules->experts[i].within, &rules->experts[i].parts, rule) &&
		    find->experts_count < FIND_PACKED_MAX)
			find->experts[find->experts_count++] = &rules->experts[i];
}

/* The component of a name after the one at p, or NULL. */
static const char *next_component(const char *p)
{
	p = strchr(p, '.');
	return p ? p + 1 : NULL;
}

/* Reads a decimal number and the dot behind it; gives what follows, or NULL. */
static const char *read_expert(const char *p, uint32_t *ret)
{
	uint32_t n = 0;
	const char *first = p;

	for (; *p >= '0' && *p <= '9'; p++)
		n = n < RULES_EXPERTS_MAX ? n * 10 + (uint32_t)(*p - '0') : n;
	if (p == first || *p != '.' || (*first == '0' && p > first + 1))
		return NULL;
	*ret = n < RULES_EXPERTS_MAX ? n : RULES_EXPERTS_MAX;
	return p + 1;
}

static bool find_experts(const struct find *find, const char *p, struct found *ret)
{
	for (size_t i = 0; i < find->experts_count; i++) {
		if (strcmp(find->experts[i]->tensor, p) != 0)
			continue;
		ret->experts = find->experts[i];
		ret->leaf = ret->experts->leaf;
		return true;
	}
	return false;
}

bool find_behind(const struct find *find, const char *name, size_t stem_len, struct found *ret)
{
	const char *p = name + stem_len;

	*ret = (struct found){.stem_len = stem_len};
	if (find->rule->stacked)
		p = read_expert(p, &ret->expert);
	if (!p)
		return find_experts(find, name + stem_len, ret);
	for (size_t i = 0; i < find->module_count; i++) {
		const struct find_module *module = &find->modules[i];

		if (*p != *module->name || strncmp(p, module->name, module->len) != 0 ||
		    p[module->len] != '.')
			continue;
		ret->module = module;
		ret->leaf = p + module->len + 1;
		return true;
	}
	return false;
}

bool find_in(const struct find *find, const char *name, struct found *ret)
{
	const char *within = find->rule->within;

	for (const char *p = name; p; p = next_component(p))
		if (*p == *within && !strncmp(p, within, find->within_len) &&
		    p[find->within_len] == '.' &&
		    find_behind(find, name, (size_t)(p - name) + find->within_len + 1, ret))
			return true;
	return false;
}
