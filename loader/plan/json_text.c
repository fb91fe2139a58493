/* SPDX-License-Identifier: Apache-2.0 */
/* json-c keeps the last of two members of one name, cuts a member's name at \u0000, and lets raw
 * control bytes into strings (json_tokener.c, also with JSON_TOKENER_STRICT). So a strict text is
 * looked through first, which finds the latter two and counts the colons outside strings: each is
 * one member, and a tree with fewer members has lost one that was given twice. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "loader/plan/json_text.h"

#define JSON_TEXT_DEPTH 64

/* Walks a string from the byte after its opening quote; returns its closing quote or the end. */
static const char *skip_string(const char *p, const char *end, const char **ret_wrong)
{
	for (; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20)
			*ret_wrong = "a raw control byte is in a string";
		if (*p != '\\')
			continue;
		if (end - p >= 6 && !memcmp(p, "\\u0000", 6))
			*ret_wrong = "a NUL is in a string";
		p++;
	}
	return p;
}

/* Counts the members that the text spells; returns what is wrong with its strings, or NULL. */
static const char *look_through(const char *text, size_t len, size_t *ret_members)
{
	const char *p, *end = text + len, *wrong = NULL;
	size_t members = 0;

	for (p = text; p < end; p++) {
		members += *p == ':';
		if (*p == '"')
			p = skip_string(p + 1, end, &wrong);
		if (p < end && *p == '\0')
			wrong = "a NUL is in it";
	}
	*ret_members = members;
	return wrong;
}

/* The tree is at most JSON_TEXT_DEPTH deep: the tokener saw to that. */
static size_t count_members(struct json_object *node)
{
	size_t i, members = 0;

	if (json_object_is_type(node, json_type_object)) {
		json_object_object_foreach(node, key, value)
		{
			(void)key;
			members += 1 + count_members(value);
		}
	} else if (json_object_is_type(node, json_type_array)) {
		for (i = 0; i < json_object_array_length(node); i++)
			members += count_members(json_object_array_get_idx(node, i));
	}
	return members;
}

static void cleanup_tokener(struct json_tokener **tok)
{
	if (*tok)
		json_tokener_free(*tok);
}

/* Parses without a look at what the tree holds. */
static int parse_tree(const char *text, size_t len, const char *what, int flags,
		      struct json_object **ret_root, struct wload_error *err)
{
	struct json_tokener *tok CLEANUP(cleanup_tokener) = json_tokener_new_ex(JSON_TEXT_DEPTH);
	struct json_object *root CLEANUP_JSON = NULL;
	size_t at;

	if (!tok)
		return wload_fail(err, ENOMEM, "out of memory");
	json_tokener_set_flags(tok, flags);
	root = json_tokener_parse_ex(tok, text, (int)len);
	at = json_tokener_get_parse_end(tok);
	if (json_tokener_get_error(tok) == json_tokener_continue)
		return wload_fail(err, EBADMSG, "'%s' is not JSON: it ends at byte %zu, too early",
				  what, len);
	if (json_tokener_get_error(tok) != json_tokener_success)
		return wload_fail(err, EBADMSG, "'%s' is not JSON: %s at byte %zu", what,
				  json_tokener_error_desc(json_tokener_get_error(tok)), at);
	while (at < len && memchr(" \t\r\n", text[at], 4))
		at++;
	if (at < len)
		return wload_fail(err, EBADMSG, "'%s' is not JSON: more follows it at byte %zu",
				  what, at);
	*ret_root = TAKE_PTR(root);
	return 0;
}

int json_text_parse(const char *text, size_t len, const char *what, size_t max, int strictness,
		    struct json_object **ret_root, struct wload_error *err)
{
	bool strict = strictness == JSON_TEXT_STRICT;
	struct json_object *root CLEANUP_JSON = NULL;
	const char *wrong = NULL;
	size_t members = 0;
	int r;

	if (len > max)
		return wload_fail(err, E2BIG, "'%s' has %zu bytes, over our limit of %zu", what,
				  len, max);
	if (strict)
		wrong = look_through(text, len, &members);
	if (wrong)
		return wload_fail(err, EBADMSG, "'%s' is not JSON as we read it: %s", what, wrong);
	r = parse_tree(text, len, what,
		       JSON_TOKENER_VALIDATE_UTF8 | (strict ? JSON_TOKENER_STRICT : 0), &root, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(root, json_type_object))
		return wload_fail(err, EBADMSG, "'%s' is not a JSON object", what);
	if (strict && count_members(root) != members)
		return wload_fail(err, EBADMSG, "'%s': a member is given twice in one object",
				  what);
	*ret_root = TAKE_PTR(root);
	return 0;
}
