/* SPDX-License-Identifier: Apache-2.0 */
/* Rules text -> struct wload_rules.
 *
 * Each kind of object is a table of its members, {name, reader, where it goes}; one walk reads any
 * of them, and it alone knows about unknown, missing and mistyped members. A new rule kind is a
 * struct, a table and a line in family_members. What a value must be beyond its type (no dots in a
 * component, nothing twice) is checked after, where all of the rule is known. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan/json_text.h"
#include "loader/plan/rules.h"

/* Where the parser is, for messages. */
struct reading {
	const char *what; /* the file */
	const char *kind; /* "family", "fuse", "split", "tied" */
	size_t index;	  /* of the rule in its list */
	struct wload_error *err;
};

struct field {
	const char *name;
	int (*read)(const struct reading *in, const char *name, struct json_object *value,
		    void *ret);
	size_t offset; /* of what it fills in the object's struct */
	bool optional; /* then the struct holds its default already */
};

/* Fails with "'FILE': fuse[1].from …". */
__attribute__((format(printf, 4, 5))) static int fail_field(const struct reading *in, int code,
							    const char *field, const char *fmt, ...)
{
	char why[2 * RULES_NAME_MAX + 128];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	if (!strcmp(in->kind, "family"))
		return wload_fail(in->err, code, "'%s': '%.64s' %s", in->what, field, why);
	return wload_fail(in->err, code, "'%s': '%s[%zu].%.64s' %s", in->what, in->kind, in->index,
			  field, why);
}

static int read_string(const struct reading *in, const char *name, struct json_object *value,
		       void *ret)
{
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return fail_field(in, EBADMSG, name, "is not a string");
	len = (size_t)json_object_get_string_len(value);
	if (len == 0)
		return fail_field(in, EBADMSG, name, "is empty");
	if (len > RULES_NAME_MAX)
		return fail_field(in, E2BIG, name, "has %zu bytes, over our limit of %d", len,
				  RULES_NAME_MAX);
	*(const char **)ret = json_object_get_string(value);
	return 0;
}

static int read_flag(const struct reading *in, const char *name, struct json_object *value,
		     void *ret)
{
	if (!json_object_is_type(value, json_type_boolean))
		return fail_field(in, EBADMSG, name, "is neither true nor false");
	*(bool *)ret = json_object_get_boolean(value);
	return 0;
}

/* Checks that a value is an array of min … max elements. */
static int check_array(const struct reading *in, const char *name, struct json_object *value,
		       size_t min, size_t max)
{
	size_t count;

	if (!json_object_is_type(value, json_type_array))
		return fail_field(in, EBADMSG, name, "is not an array");
	count = json_object_array_length(value);
	if (count < min)
		return fail_field(in, EBADMSG, name, "has %zu elements, it needs %zu", count, min);
	if (count > max)
		return fail_field(in, E2BIG, name, "has %zu elements, over our limit of %zu", count,
				  max);
	return 0;
}

/* Reads an array of different strings. */
static int read_names(const struct reading *in, const char *name, struct json_object *value,
		      size_t min, size_t max, struct rules_names *ret)
{
	struct rules_names names = {NULL, 0};
	const char **items CLEANUP_FREE = NULL;
	const char *item;
	size_t i, count;
	int r;

	r = check_array(in, name, value, min, max);
	if (r < 0)
		return r;
	count = json_object_array_length(value);
	items = calloc(count, sizeof(*items));
	if (!items)
		return wload_fail(in->err, ENOMEM, "out of memory");
	names.items = items;
	for (i = 0; i < count; i++) {
		r = read_string(in, name, json_object_array_get_idx(value, i), &item);
		if (r < 0)
			return r;
		if (rules_names_contain(&names, item))
			return fail_field(in, EBADMSG, name, "has '%s' twice", item);
		items[names.count++] = item;
	}
	free(ret->items); /* a default that was not needed */
	ret->items = TAKE_PTR(items);
	ret->count = count;
	return 0;
}

static int read_model_types(const struct reading *in, const char *name, struct json_object *value,
			    void *ret)
{
	return read_names(in, name, value, 1, RULES_LIST_MAX, ret);
}

static int read_from(const struct reading *in, const char *name, struct json_object *value,
		     void *ret)
{
	return read_names(in, name, value, 2, RULES_PARTS_MAX, ret);
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
		return fail_field(in, EBADMSG, name, "is '%s', none of " ALONG_WORDS, word);
	return 0;
}

static const struct field *find_field(const struct field *fields, const char *name)
{
	for (; fields->name; fields++)
		if (!strcmp(fields->name, name))
			return fields;
	return NULL;
}

/* Reads an object by the table of its members, which ends with a NULL name. */
static int read_object(const struct reading *in, struct json_object *object,
		       const struct field *fields, void *ret)
{
	const struct field *f;
	int r;

	json_object_object_foreach(object, name, value)
	{
		f = find_field(fields, name);
		if (!f)
			return fail_field(in, EBADMSG, name, "is not a member that we know");
		r = f->read(in, name, value, (char *)ret + f->offset);
		if (r < 0)
			return r;
	}
	for (f = fields; f->name; f++)
		if (!f->optional && !json_object_object_get_ex(object, f->name, NULL))
			return fail_field(in, EBADMSG, f->name, "is missing");
	return 0;
}

/* A whole number of components of a tensor's name, or just one. */
static int check_components(const struct reading *in, const char *name, const char *value, bool one)
{
	size_t len = strlen(value);

	if (one && strchr(value, '.'))
		return fail_field(in, EBADMSG, name, "has '%s', which has a dot", value);
	if (value[0] == '.' || value[len - 1] == '.' || strstr(value, ".."))
		return fail_field(in, EBADMSG, name, "has '%s', a component of which is empty",
				  value);
	return 0;
}

static const struct field fuse_members[] = {
	{"from", read_from, offsetof(struct rules_fuse, from), false},
	{"into", read_string, offsetof(struct rules_fuse, into), false},
	{"leaves", read_leaves, offsetof(struct rules_fuse, leaves), true},
	{"within", read_string, offsetof(struct rules_fuse, within), false},
	{NULL, NULL, 0, false},
};

static int check_fuse(const struct reading *in, const struct rules_fuse *rule)
{
	size_t i;
	int r;

	r = check_components(in, "into", rule->into, true);
	if (r == 0)
		r = check_components(in, "within", rule->within, false);
	for (i = 0; r == 0 && i < rule->from.count; i++)
		r = check_components(in, "from", rule->from.items[i], true);
	for (i = 0; r == 0 && i < rule->leaves.count; i++)
		r = check_components(in, "leaves", rule->leaves.items[i], false);
	if (r < 0)
		return r;
	if (rules_names_contain(&rule->from, rule->into))
		return fail_field(in, EBADMSG, "into", "is '%s', which is in 'from' too",
				  rule->into);
	return 0;
}

/* Whether `text` ends with the components `tail`. */
static bool ends_with(const char *text, const char *tail)
{
	size_t len = strlen(text), tail_len = strlen(tail);

	if (tail_len > len || strcmp(text + len - tail_len, tail))
		return false;
	return tail_len == len || text[len - tail_len - 1] == '.';
}

/* Two rules that could make parameters of the same name: a plan's names differ. */
static bool fuse_same_name(const struct rules_fuse *a, const struct rules_fuse *b)
{
	return !strcmp(a->into, b->into) &&
	       (ends_with(a->within, b->within) || ends_with(b->within, a->within));
}

/* What "leaves" are where a rule does not say. */
static int set_default_leaves(const struct reading *in, struct rules_names *ret)
{
	static const char *const leaves[] = {"weight", "bias"};

	ret->items = malloc(sizeof(leaves));
	if (!ret->items)
		return wload_fail(in->err, ENOMEM, "out of memory");
	memcpy(ret->items, leaves, sizeof(leaves));
	ret->count = sizeof(leaves) / sizeof(*leaves);
	return 0;
}

static int read_one_fuse(struct reading *in, struct json_object *object, struct wload_rules *rules)
{
	struct rules_fuse *rule = &rules->fuse[rules->fuse_count++];
	size_t i;
	int r = set_default_leaves(in, &rule->leaves);

	if (r == 0)
		r = read_object(in, object, fuse_members, rule);
	if (r == 0)
		r = check_fuse(in, rule);
	for (i = 0; r == 0 && i < in->index; i++)
		if (fuse_same_name(&rules->fuse[i], rule))
			r = fail_field(in, EBADMSG, "into", "is '%s', as it is in 'fuse[%zu]'",
				       rule->into, i);
	return r;
}

static const struct field split_members[] = {
	{"along", read_along, offsetof(struct rules_split, along), false},
	{"leaves", read_leaves, offsetof(struct rules_split, leaves), true},
	{"modules", read_modules, offsetof(struct rules_split, modules), false},
	{NULL, NULL, 0, false},
};

static int check_split(const struct reading *in, const struct rules_split *rule,
		       const struct rules_split *earlier)
{
	size_t i, j;
	int r = 0;

	for (i = 0; r == 0 && i < rule->leaves.count; i++)
		r = check_components(in, "leaves", rule->leaves.items[i], false);
	for (i = 0; r == 0 && i < rule->modules.count; i++) {
		r = check_components(in, "modules", rule->modules.items[i], false);
		for (j = 0; r == 0 && j < in->index; j++)
			if (rules_names_contain(&earlier[j].modules, rule->modules.items[i]))
				r = fail_field(in, EBADMSG, "modules",
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
		return fail_field(in, EBADMSG, "copy_of", "is '%s', which is 'skip' too",
				  rule->skip);
	for (i = 0; i < in->index; i++)
		if (!strcmp(rules->tied[i].skip, rule->skip))
			return fail_field(in, EBADMSG, "skip", "is '%s', as it is in 'tied[%zu]'",
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

	r = check_array(outer, name, value, 1, RULES_LIST_MAX);
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
	{"family", read_string, offsetof(struct wload_rules, family), false},
	{"fuse", read_fuse, 0, true},
	{"model_types", read_model_types, offsetof(struct wload_rules, model_types), false},
	{"split", read_split, 0, true},
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
		return fail_field(&in, EBADMSG, "family", "is 'none', which means no rules");
	*ret_rules = TAKE_PTR(rules);
	return 0;
}

void wload_rules_free(struct wload_rules *rules)
{
	size_t i;

	if (!rules || rules->builtin)
		return;
	for (i = 0; i < rules->fuse_count; i++) {
		free(rules->fuse[i].from.items);
		free(rules->fuse[i].leaves.items);
	}
	for (i = 0; i < rules->split_count; i++) {
		free(rules->split[i].modules.items);
		free(rules->split[i].leaves.items);
	}
	free(rules->fuse);
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
