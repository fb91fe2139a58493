/* SPDX-License-Identifier: Apache-2.0 */
/* Reads values by tables of members. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan/rules_read.h"

int read_fail(const struct reading *in, int code, const char *field, const char *fmt, ...)
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

int read_string(const struct reading *in, const char *name, struct json_object *value, void *ret)
{
	size_t len;

	if (!json_object_is_type(value, json_type_string))
		return read_fail(in, EBADMSG, name, "is not a string");
	len = (size_t)json_object_get_string_len(value);
	if (len == 0)
		return read_fail(in, EBADMSG, name, "is empty");
	if (len > RULES_NAME_MAX)
		return read_fail(in, E2BIG, name, "has %zu bytes, over our limit of %d", len,
				 RULES_NAME_MAX);
	*(const char **)ret = json_object_get_string(value);
	return 0;
}

int read_flag(const struct reading *in, const char *name, struct json_object *value, void *ret)
{
	if (!json_object_is_type(value, json_type_boolean))
		return read_fail(in, EBADMSG, name, "is neither true nor false");
	*(bool *)ret = json_object_get_boolean(value);
	return 0;
}

int read_check_array(const struct reading *in, const char *name, struct json_object *value,
		     size_t min, size_t max)
{
	size_t count;

	if (!json_object_is_type(value, json_type_array))
		return read_fail(in, EBADMSG, name, "is not an array");
	count = json_object_array_length(value);
	if (count < min)
		return read_fail(in, EBADMSG, name, "has %zu elements, it needs %zu", count, min);
	if (count > max)
		return read_fail(in, E2BIG, name, "has %zu elements, over our limit of %zu", count,
				 max);
	return 0;
}

int read_names(const struct reading *in, const char *name, struct json_object *value, size_t min,
	       size_t max, struct rules_names *ret)
{
	struct rules_names names = {NULL, 0};
	const char **items CLEANUP_FREE = NULL;
	const char *item;
	size_t i, count;
	int r;

	r = read_check_array(in, name, value, min, max);
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
			return read_fail(in, EBADMSG, name, "has '%s' twice", item);
		items[names.count++] = item;
	}
	free(ret->items); /* a default that was not needed */
	ret->items = TAKE_PTR(items);
	ret->count = count;
	return 0;
}

static const struct field *find_field(const struct field *fields, const char *name)
{
	for (; fields->name; fields++)
		if (!strcmp(fields->name, name))
			return fields;
	return NULL;
}

int read_object(const struct reading *in, struct json_object *object, const struct field *fields,
		void *ret)
{
	const struct field *f;
	int r;

	json_object_object_foreach(object, name, value)
	{
		f = find_field(fields, name);
		if (!f)
			return read_fail(in, EBADMSG, name, "is not a member that we know");
		r = f->read(in, name, value, (char *)ret + f->offset);
		if (r < 0)
			return r;
	}
	for (f = fields; f->name; f++)
		if (!f->optional && !json_object_object_get_ex(object, f->name, NULL))
			return read_fail(in, EBADMSG, f->name, "is missing");
	return 0;
}

int read_check_components(const struct reading *in, const char *name, const char *value, bool one)
{
	size_t len = strlen(value);

	if (one && strchr(value, '.'))
		return read_fail(in, EBADMSG, name, "has '%s', which has a dot", value);
	if (value[0] == '.' || value[len - 1] == '.' || strstr(value, ".."))
		return read_fail(in, EBADMSG, name, "has '%s', a component of which is empty",
				 value);
	return 0;
}
