/* SPDX-License-Identifier: Apache-2.0 */
/* Rules text -> struct wload_rules.
 *
 * Each kind of rule is a table of its members (rules_read.h). A new kind is a struct, a table and a
 * line in family_members. What a value must be beyond its type (no dots in a component, nothing
 * twice) is checked after, where all of the rule is known. */

#include <errno.h>
#include <string.h>

#include "loader/plan/rules_made.h"
#include "loader/plan/rules_read.h"

static int read_model_types(const struct reading *in, const char *name, struct json_object *value,
			    void *ret)
{
	return read_names(in, name, value, 1, RULES_LIST_MAX, ret);
}

static int read_apart(const struct reading *in, const char *name, struct json_object *value,
		      void *ret)
{
	const struct rules_names *modules = ret;
	int r = read_names(in, name, value, 1, RULES_LIST_MAX, ret);

	for (size_t i = 0; r == 0 && i < modules->count; i++)
		r = read_check_components(in, name, modules->items[i], false);
	return r;
}

/* "from" of a stack. */
static int read_any_from(const struct reading *in, const char *name, struct json_object *value,
			 void *ret)
{
	return read_names(in, name, value, 1, RULES_PARTS_MAX, ret);
}

static int read_from(const struct reading *in, const char *name, struct json_object *value,
		     void *ret)
{
	return read_names(in, name, value, 2, RULES_PARTS_MAX, ret);
}

/* "from" of "also": one name. */
static int read_one_from(const struct reading *in, const char *name, struct json_object *value,
			 void *ret)
{
	struct rules_names *names = ret;

	names->items = malloc(sizeof(*names->items));
	if (!names->items)
		return wload_fail(in->err, ENOMEM, "out of memory");
	names->count = 1;
	return read_string(in, name, value, names->items);
}

static int read_leaves(const struct reading *in, const char *name, struct json_object *value,
		       void *ret)
{
	return read_names(in, name, value, 1, RULES_LEAVES_MAX, ret);
}

static int read_modules(const struct reading *in, const char *name, struct json_object *value,
			void *ret)
{
	return read_names(in, name, value, 1, RULES_LIST_MAX, ret);
}

static int read_along(const struct reading *in, const char *name, struct json_object *value,
		      void *ret)
{
	const char *word;
	int r = read_string(in, name, value, &word);

	if (r < 0)
		return r;
	*(const struct along **)ret = along_find(word);
	if (!*(const struct along **)ret)
		return read_fail(in, EBADMSG, name, "is '%s', none of " ALONG_WORDS, word);
	return 0;
}

static int read_layout(const struct reading *in, const char *name, struct json_object *value,
		       void *ret)
{
	const char *word;
	int layout, r = read_string(in, name, value, &word);

	if (r < 0)
		return r;
	for (layout = 0; layout < WLOAD_LAYOUT_COUNT; layout++)
		if (!strcmp(word, wload_layout_name((enum wload_layout)layout)))
			*(unsigned int *)ret = 1u << layout;
	return *(unsigned int *)ret
		       ? 0
		       : read_fail(in, EBADMSG, name, "is '%s', neither trtllm nor vllm", word);
}

/* A number of config.json, by its name, or one that is said here. */
static int read_share(const struct reading *in, const char *name, struct json_object *value,
		      void *ret)
{
	struct rules_share *share = ret;
	int64_t number;

	if (json_object_is_type(value, json_type_string))
		return read_string(in, name, value, &share->key);
	number = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;
	if (number < 1 || number > UINT32_MAX)
		return read_fail(in, EBADMSG, name,
				 "has no name, and no whole number from 1 to 2^32 - 1");
	share->number = (uint64_t)number;
	return 0;
}

static int read_shares(const struct reading *in, const char *name, struct json_object *value,
		       void *ret)
{
	struct rules_packed *rule = ret;
	int r = read_check_array(in, name, value, 2, RULES_PARTS_MAX);

	if (r < 0)
		return r;
	rule->shares = calloc(json_object_array_length(value), sizeof(*rule->shares));
	if (!rule->shares)
		return wload_fail(in->err, ENOMEM, "out of memory");
	rule->share_count = json_object_array_length(value);
	for (size_t i = 0; r == 0 && i < rule->share_count; i++)
		r = read_share(in, name, json_object_array_get_idx(value, i), &rule->shares[i]);
	return r;
}

static int read_head(const struct reading *in, const char *name, struct json_object *value,
		     void *ret)
{
	struct rules_split *rule = ret;
	int r = read_check_array(in, name, value, 1, RULES_HEAD_MAX);

	if (r < 0)
		return r;
	rule->head_count = json_object_array_length(value);
	for (size_t i = 0; r == 0 && i < rule->head_count; i++)
		r = read_share(in, name, json_object_array_get_idx(value, i), &rule->head[i]);
	return r;
}

static const struct field fuse_members[] = {
	{"from", read_from, offsetof(struct rules_fuse, from), false},
	{"into", read_string, offsetof(struct rules_fuse, into), false},
	{"layout", read_layout, offsetof(struct rules_fuse, layouts), true},
	{"leaves", read_leaves, offsetof(struct rules_fuse, leaves), true},
	{"requantise", read_flag, offsetof(struct rules_fuse, requantise), true},
	{"within", read_string, offsetof(struct rules_fuse, within), false},
	{NULL, NULL, 0, false},
};

static const struct field stack_members[] = {
	{"along", read_along, offsetof(struct rules_fuse, along), false},
	{"every_rank", read_leaves, offsetof(struct rules_fuse, every_rank), true},
	{"from", read_any_from, offsetof(struct rules_fuse, from), false},
	{"into", read_string, offsetof(struct rules_fuse, into), false},
	{"layout", read_layout, offsetof(struct rules_fuse, layouts), true},
	{"leaves", read_leaves, offsetof(struct rules_fuse, leaves), true},
	{"within", read_string, offsetof(struct rules_fuse, within), false},
	{NULL, NULL, 0, false},
};

static const struct field also_members[] = {
	{"each", read_share, offsetof(struct rules_fuse, each), false},
	{"from", read_one_from, offsetof(struct rules_fuse, from), false},
	{"into", read_string, offsetof(struct rules_fuse, into), false},
	{"layout", read_layout, offsetof(struct rules_fuse, layouts), true},
	{"leaves", read_leaves, offsetof(struct rules_fuse, leaves), true},
	{"transpose", read_flag, offsetof(struct rules_fuse, transpose), true},
	{"within", read_string, offsetof(struct rules_fuse, within), false},
	{NULL, NULL, 0, false},
};

static int check_fuse(const struct reading *in, const struct rules_fuse *rule)
{
	size_t i;
	int r;

	r = read_check_components(in, "into", rule->into, true);
	if (r == 0)
		r = read_check_components(in, "within", rule->within, false);
	for (i = 0; r == 0 && i < rule->from.count; i++)
		r = read_check_components(in, "from", rule->from.items[i], true);
	for (i = 0; r == 0 && i < rule->leaves.count; i++)
		r = read_check_components(in, "leaves", rule->leaves.items[i], false);
	if (r == 0 && rule->along && rule->along->heads)
		r = read_fail(in, EBADMSG, "along", "is '%s', and experts have no heads",
			      rule->along->word);
	return r;
}

/* What "leaves" are where a rule does not say. */
static int set_default_leaves(const struct reading *in, struct rules_names *ret)
{
	static const char *const leaves[] = {"weight",		 "bias",	   "weight_scale",
					     "weight_scale_inv", "weight_scale_2", "input_scale"};

	ret->items = malloc(sizeof(leaves));
	if (!ret->items)
		return wload_fail(in->err, ENOMEM, "out of memory");
	memcpy(ret->items, leaves, sizeof(leaves));
	ret->count = sizeof(leaves) / sizeof(*leaves);
	return 0;
}

/* Reads the next rule of a list of either kind. */
static int read_joining(struct reading *in, struct json_object *object, const struct field *members,
			struct rules_fuse *rules)
{
	struct rules_fuse *rule = &rules[in->index];
	size_t i;
	int r = set_default_leaves(in, &rule->leaves);

	if (r == 0)
		r = read_object(in, object, members, rule);
	if (r == 0)
		r = check_fuse(in, rule);
	for (i = 0; r == 0 && i < in->index; i++)
		if (rules_same_name(&rules[i], rule))
			r = read_fail(in, EBADMSG, "into", "is '%s', as it is in '%s[%zu]'",
				      rule->into, in->kind, i);
	return r;
}

static int read_one_fuse(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	rules->fuse_count++;
	return read_joining(in, object, fuse_members, rules->fuse);
}

static int read_one_stack(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	rules->stack[rules->stack_count++].stacked = true;
	return read_joining(in, object, stack_members, rules->stack);
}

static int read_one_also(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	rules->also[rules->also_count++].also = true;
	return read_joining(in, object, also_members, rules->also);
}

static const struct field packed_members[] = {
	{"each", read_share, offsetof(struct rules_packed, each), true},
	{"module", read_string, offsetof(struct rules_packed, module), false},
	{"parts", read_from, offsetof(struct rules_packed, parts), false},
	{"shares", read_shares, 0, false},
	{"within", read_string, offsetof(struct rules_packed, within), false},
	{NULL, NULL, 0, false},
};

static int read_one_packed(struct reading *in, struct json_object *object,
			   struct wload_rules *rules)
{
	struct rules_packed *rule = &rules->packed[rules->packed_count++];
	size_t i;
	int r = read_object(in, object, packed_members, rule);

	if (r == 0)
		r = read_check_components(in, "module", rule->module, true);
	if (r == 0)
		r = read_check_components(in, "within", rule->within, false);
	for (i = 0; r == 0 && i < rule->parts.count; i++)
		r = read_check_components(in, "parts", rule->parts.items[i], true);
	if (r == 0 && rule->share_count != rule->parts.count)
		r = read_fail(in, EBADMSG, "shares", "has %zu elements, 'parts' %zu",
			      rule->share_count, rule->parts.count);
	for (i = 0; r == 0 && i < in->index; i++)
		if (!strcmp(rules->packed[i].module, rule->module) &&
		    !strcmp(rules->packed[i].within, rule->within))
			r = read_fail(in, EBADMSG, "module", "is '%s', as it is in 'packed[%zu]'",
				      rule->module, i);
	return r;
}

static const struct field experts_members[] = {
	{"interleaved", read_flag, offsetof(struct rules_experts, interleaved), true},
	{"leaf", read_string, offsetof(struct rules_experts, leaf), false},
	{"parts", read_any_from, offsetof(struct rules_experts, parts), false},
	{"tensor", read_string, offsetof(struct rules_experts, tensor), false},
	{"transposed", read_flag, offsetof(struct rules_experts, transposed), true},
	{"within", read_string, offsetof(struct rules_experts, within), false},
	{NULL, NULL, 0, false},
};

static int read_one_experts(struct reading *in, struct json_object *object,
			    struct wload_rules *rules)
{
	struct rules_experts *rule = &rules->experts[rules->experts_count++];
	size_t i;
	int r = read_object(in, object, experts_members, rule);

	if (r == 0)
		r = read_check_components(in, "tensor", rule->tensor, true);
	if (r == 0)
		r = read_check_components(in, "within", rule->within, false);
	if (r == 0)
		r = read_check_components(in, "leaf", rule->leaf, true);
	for (i = 0; r == 0 && i < rule->parts.count; i++)
		r = read_check_components(in, "parts", rule->parts.items[i], true);
	for (i = 0; r == 0 && i < in->index; i++)
		if (!strcmp(rules->experts[i].tensor, rule->tensor) &&
		    !strcmp(rules->experts[i].within, rule->within))
			r = read_fail(in, EBADMSG, "tensor", "is '%s', as it is in 'experts[%zu]'",
				      rule->tensor, i);
	return r;
}

static const struct field split_members[] = {
	{"along", read_along, offsetof(struct rules_split, along), false},
	{"divisor", read_flag, offsetof(struct rules_split, divisor), true},
	{"head", read_head, 0, true},
	{"layout", read_layout, offsetof(struct rules_split, layouts), true},
	{"leaves", read_leaves, offsetof(struct rules_split, leaves), true},
	{"modules", read_modules, offsetof(struct rules_split, modules), false},
	{NULL, NULL, 0, false},
};

static int check_split(const struct reading *in, const struct rules_split *rule,
		       const struct rules_split *earlier)
{
	size_t i, j;
	int r = 0;

	if (rule->head_count && !rule->along->heads)
		r = read_fail(in, EBADMSG, "head", "is there, and 'along' is '%s'",
			      rule->along->word);
	if (r == 0 && rule->divisor && (rule->along->heads || !rule->along->splits))
		r = read_fail(in, EBADMSG, "divisor", "is true, and 'along' is '%s'",
			      rule->along->word);
	for (i = 0; r == 0 && i < rule->leaves.count; i++)
		r = read_check_components(in, "leaves", rule->leaves.items[i], false);
	for (i = 0; r == 0 && i < rule->modules.count; i++) {
		r = read_check_components(in, "modules", rule->modules.items[i], false);
		for (j = 0; r == 0 && j < in->index; j++)
			if (rules_layouts_meet(earlier[j].layouts, rule->layouts) &&
			    rules_names_contain(&earlier[j].modules, rule->modules.items[i]))
				r = read_fail(in, EBADMSG, "modules",
					      "has '%s', as 'split[%zu]' has",
					      rule->modules.items[i], j);
	}
	return r;
}

static int read_one_split(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	struct rules_split *rule = &rules->split[rules->split_count++];
	int r = set_default_leaves(in, &rule->leaves);

	if (r == 0)
		r = read_object(in, object, split_members, rule);
	return r < 0 ? r : check_split(in, rule, rules->split);
}

static const struct field tied_members[] = {
	{"copy_of", read_string, offsetof(struct rules_tied, copy_of), true},
	{"default", read_flag, offsetof(struct rules_tied, fallback), true},
	{"skip", read_string, offsetof(struct rules_tied, skip), false},
	{"when", read_string, offsetof(struct rules_tied, when), false},
	{NULL, NULL, 0, false},
};

static int read_one_tied(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	struct rules_tied *rule = &rules->tied[rules->tied_count++];
	size_t i;
	int r;

	r = read_object(in, object, tied_members, rule);
	if (r < 0)
		return r;
	if (rule->copy_of && !strcmp(rule->copy_of, rule->skip))
		return read_fail(in, EBADMSG, "copy_of", "is '%s', which is 'skip' too",
				 rule->skip);
	for (i = 0; i < in->index; i++)
		if (!strcmp(rules->tied[i].skip, rule->skip))
			return read_fail(in, EBADMSG, "skip", "is '%s', as it is in 'tied[%zu]'",
					 rule->skip, i);
	return 0;
}

/* Reads an array of rules; *ret_rules is room for one struct of `bytes` each, zeroed. */
static int read_rules(const struct reading *outer, const char *name, struct json_object *value,
		      size_t bytes,
		      int (*read_one)(struct reading *, struct json_object *, struct wload_rules *),
		      void *ret_room, struct wload_rules *rules)
{
	struct reading in = *outer;
	struct json_object *object;
	void *room;
	int r;

	r = read_check_array(outer, name, value, 1, RULES_LIST_MAX);
	if (r < 0)
		return r;
	room = calloc(json_object_array_length(value), bytes);
	if (!room)
		return wload_fail(in.err, ENOMEM, "out of memory");
	*(void **)ret_room = room;
	in.kind = name;
	for (in.index = 0; in.index < json_object_array_length(value); in.index++) {
		object = json_object_array_get_idx(value, in.index);
		if (!json_object_is_type(object, json_type_object))
			return wload_fail(in.err, EBADMSG, "'%s': '%s[%zu]' is not an object",
					  in.what, name, in.index);
		r = read_one(&in, object, rules);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_fuse(const struct reading *in, const char *name, struct json_object *value,
		     void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_fuse), read_one_fuse,
			  &((struct wload_rules *)rules)->fuse, rules);
}

static int read_stack(const struct reading *in, const char *name, struct json_object *value,
		      void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_fuse), read_one_stack,
			  &((struct wload_rules *)rules)->stack, rules);
}

static int read_also(const struct reading *in, const char *name, struct json_object *value,
		     void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_fuse), read_one_also,
			  &((struct wload_rules *)rules)->also, rules);
}

static int read_packed(const struct reading *in, const char *name, struct json_object *value,
		       void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_packed), read_one_packed,
			  &((struct wload_rules *)rules)->packed, rules);
}

static int read_experts(const struct reading *in, const char *name, struct json_object *value,
			void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_experts), read_one_experts,
			  &((struct wload_rules *)rules)->experts, rules);
}

static int read_split(const struct reading *in, const char *name, struct json_object *value,
		      void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_split), read_one_split,
			  &((struct wload_rules *)rules)->split, rules);
}

static int read_tied(const struct reading *in, const char *name, struct json_object *value,
		     void *rules)
{
	return read_rules(in, name, value, sizeof(struct rules_tied), read_one_tied,
			  &((struct wload_rules *)rules)->tied, rules);
}

static const struct field family_members[] = {
	{"also", read_also, 0, true},
	{"apart", read_apart, offsetof(struct wload_rules, apart), true},
	{"experts", read_experts, 0, true},
	{"family", read_string, offsetof(struct wload_rules, family), false},
	{"fuse", read_fuse, 0, true},
	{"model_types", read_model_types, offsetof(struct wload_rules, model_types), false},
	{"packed", read_packed, 0, true},
	{"split", read_split, 0, true},
	{"stack", read_stack, 0, true},
	{"tied", read_tied, 0, true},
	{NULL, NULL, 0, false},
};

static void cleanup_rules(struct wload_rules **rules)
{
	wload_rules_free(*rules);
}

int wload_rules_parse(const char *text, size_t text_len, const char *what,
		      struct wload_rules **ret_rules, struct wload_error *err)
{
	struct wload_rules *rules CLEANUP(cleanup_rules) = calloc(1, sizeof(*rules));
	const struct reading in = {.what = what, .kind = "family", .err = err};
	int r;

	if (!rules)
		return wload_fail(err, ENOMEM, "out of memory");
	r = json_text_parse(text, text_len, what, RULES_TEXT_MAX, JSON_TEXT_STRICT, &rules->root,
			    err);
	if (r < 0)
		return r;
	r = read_object(&in, rules->root, family_members, rules);
	if (r < 0)
		return r;
	if (!strcmp(rules->family, "none"))
		return read_fail(&in, EBADMSG, "family", "is 'none', which means no rules");
	r = rules_check_made(rules, what, err);
	if (r < 0)
		return r;
	*ret_rules = TAKE_PTR(rules);
	return 0;
}

static void free_joining(struct rules_fuse *rules, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(rules[i].from.items);
		free(rules[i].leaves.items);
		free(rules[i].every_rank.items);
	}
	free(rules);
}

void wload_rules_free(struct wload_rules *rules)
{
	size_t i;

	if (!rules || rules->builtin)
		return;
	free_joining(rules->fuse, rules->fuse_count);
	free_joining(rules->stack, rules->stack_count);
	free_joining(rules->also, rules->also_count);
	for (i = 0; i < rules->packed_count; i++) {
		free(rules->packed[i].parts.items);
		free(rules->packed[i].shares);
	}
	for (i = 0; i < rules->split_count; i++) {
		free(rules->split[i].modules.items);
		free(rules->split[i].leaves.items);
	}
	for (i = 0; i < rules->experts_count; i++)
		free(rules->experts[i].parts.items);
	free(rules->apart.items);
	free(rules->experts);
	free(rules->packed);
	free(rules->split);
	free(rules->tied);
	free(rules->model_types.items);
	json_object_put(rules->root);
	free(rules);
}

bool rules_names_contain(const struct rules_names *names, const char *name)
{
	size_t i;

	for (i = 0; i < names->count; i++)
		if (!strcmp(names->items[i], name))
			return true;
	return false;
}

bool rules_apart(const struct wload_rules *rules, const char *name)
{
	for (size_t i = 0; i < rules->apart.count; i++)
		for (const char *p = name; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL)
			if (rules_begin(p, rules->apart.items[i]))
				return true;
	return false;
}
