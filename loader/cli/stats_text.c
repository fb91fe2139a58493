/* SPDX-License-Identifier: Apache-2.0 */
/* Walks JSON token by token and writes a line for each value. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/json_reader.h"
#include "loader/cli/stats_text.h"
#include "loader/cli/units.h"

struct walk {
	struct json_reader reader;
	struct text *text;
	unsigned int depth; /* of open objects and arrays */
	bool of_bytes;	    /* the last name ends in "bytes" */
};

static void add_piece(struct text *text, const char *s, size_t len)
{
	struct text piece CLEANUP(text_free) = {0};

	text_add(&piece, s, len);
	if (piece.failed)
		text->failed = true;
	else
		units_name(text, piece.s);
}

static void indent(struct walk *walk)
{
	text_printf(walk->text, "%*s", 2 * (int)(walk->depth - 1), "");
}

static void add_name(struct walk *walk)
{
	const char *name = walk->reader.string;
	size_t len = walk->reader.string_len, start = walk->text->len;

	indent(walk);
	add_piece(walk->text, name, len);
	for (size_t i = start; i < walk->text->len; i++)
		if (walk->text->s[i] == '_')
			walk->text->s[i] = ' ';
	text_add(walk->text, ":", 1);
	walk->of_bytes = len >= 5 && !memcmp(name + len - 5, "bytes", 5);
}

/* A number whose value the reader does not keep: its text ends where the reader is. */
static void add_number(struct walk *walk)
{
	const char *end = (const char *)walk->reader.text + walk->reader.at, *start = end;

	while (start > (const char *)walk->reader.text && strchr("0123456789+-.eE", start[-1]))
		start--;
	text_add(walk->text, start, (size_t)(end - start));
}

static void add_uint(struct walk *walk)
{
	char bytes[UNITS_MAX];

	text_printf(walk->text, "%" PRIu64, walk->reader.uint);
	if (walk->of_bytes && walk->reader.uint >= 1000) {
		units_bytes(walk->reader.uint, bytes);
		text_printf(walk->text, " (%s)", bytes);
	}
}

/* true or false: which, the reader's text knows. */
static void add_bool(struct walk *walk)
{
	const char *end = (const char *)walk->reader.text + walk->reader.at;

	text_printf(walk->text, end[-2] == 'u' ? "yes" : "no");
}

static void add_scalar(struct walk *walk, enum json_token token)
{
	text_add(walk->text, " ", 1);
	if (token == JSON_STRING)
		add_piece(walk->text, walk->reader.string, walk->reader.string_len);
	else if (token == JSON_UINT)
		add_uint(walk);
	else if (token == JSON_NUMBER)
		add_number(walk);
	else if (token == JSON_BOOL)
		add_bool(walk);
	else
		text_add(walk->text, "-", 1);
	text_add(walk->text, "\n", 1);
}

/* One token; false at the end of the text. `in_name` tells that a name stands on this line. */
static bool step(struct walk *walk, bool *in_name)
{
	enum json_token token = json_next(&walk->reader);

	switch (token) {
	case JSON_BAD:
	case JSON_END:
		return false;
	case JSON_NAME:
		add_name(walk);
		*in_name = true;
		return true;
	case JSON_OBJECT:
	case JSON_ARRAY:
		if (walk->depth && !*in_name) {
			indent(walk);
			text_add(walk->text, "-", 1);
		}
		if (walk->depth)
			text_add(walk->text, "\n", 1);
		walk->depth++;
		break;
	case JSON_OBJECT_END:
	case JSON_ARRAY_END:
		walk->depth--;
		break;
	default:
		if (!*in_name && walk->depth) {
			indent(walk);
			text_add(walk->text, "-", 1);
		}
		add_scalar(walk, token);
	}
	*in_name = false;
	return true;
}

int stats_text(const char *json, struct text *text, struct wload_error *err)
{
	struct walk walk = {.text = text};
	bool in_name = false;
	int r = 0;

	json_start(&walk.reader, (const uint8_t *)json, strlen(json));
	while (step(&walk, &in_name))
		;
	if (walk.reader.code)
		r = json_fail(&walk.reader, err);
	json_finish(&walk.reader);
	if (r == 0 && text->failed)
		r = wload_fail(err, ENOMEM, "out of memory");
	return r;
}
