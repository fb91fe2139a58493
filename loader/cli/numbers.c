/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/checkpoint/json_member.h"
#include "loader/cli/numbers.h"
#include "loader/cli/units.h"

static bool ends_in_bytes(const char *name, size_t len)
{
	return len >= 5 && !memcmp(name + len - 5, "bytes", 5);
}

/* "resident_bytes" in nothing: "resident"; "limit_bytes" in "budget": "budget limit". */
static void write_label(char label[NUMBERS_LABEL_MAX], const char *outer, const char *name,
			size_t len)
{
	size_t shown = len > 6 && !memcmp(name + len - 6, "_bytes", 6) ? len - 6 : len;

	(void)snprintf(label, NUMBERS_LABEL_MAX, "%s%s%.*s", outer, *outer ? " " : "", (int)shown,
		       name);
	for (char *p = label; *p; p++)
		if (*p == '_')
			*p = ' ';
		else if ((unsigned char)*p < 0x20 || *p == 0x7f || (unsigned char)*p >= 0x80)
			*p = '?';
}

static int add_cell(struct numbers *numbers, const char *outer, const char *name, size_t len,
		    const uint64_t *value)
{
	struct number *cell;

	if (!grow_array(&numbers->cells, &numbers->cap, numbers->count + 1,
			sizeof(*numbers->cells)))
		return -ENOMEM;
	cell = &numbers->cells[numbers->count++];
	write_label(cell->label, outer, name, len);
	if (!value)
		(void)snprintf(cell->value, sizeof(cell->value), "-");
	else if (ends_in_bytes(name, len))
		units_bytes(*value, cell->value);
	else
		(void)snprintf(cell->value, sizeof(cell->value), "%" PRIu64, *value);
	return 0;
}

/* "claims": [{"rank": 0, "tensors": 30, …}, …], its '[' already taken. */
static int take_claims(struct json_reader *r, struct numbers *numbers)
{
	enum json_token token;

	while ((token = json_next(r)) == JSON_OBJECT) {
		uint64_t tensors = 0;
		const struct json_member member = {"tensors", NULL, &tensors};
		int code = json_take_members(r, &member, 1);

		if (code < 0)
			return code;
		text_printf(&numbers->claims, "%s%" PRIu64, numbers->claims.len ? " " : "",
			    tensors);
	}
	return token == JSON_ARRAY_END ? 0 : -EBADMSG;
}

/* Passes over an array or object, its first token already taken. */
static int pass_over(struct json_reader *r)
{
	unsigned int depth = 1;

	while (depth)
		switch (json_next(r)) {
		case JSON_BAD:
		case JSON_END:
			return -EBADMSG;
		case JSON_OBJECT:
		case JSON_ARRAY:
			depth++;
			break;
		case JSON_OBJECT_END:
		case JSON_ARRAY_END:
			depth--;
			break;
		default:
			break;
		}
	return 0;
}

static int take_object(struct json_reader *r, const char *outer, bool inner,
		       struct numbers *numbers);

/* The value behind a name, which is copied: the reader's goes with the next. */
static int take_value(struct json_reader *r, const char *outer, bool inner, struct numbers *numbers)
{
	char name[NUMBERS_LABEL_MAX];
	size_t len = r->string_len < sizeof(name) - 1 ? r->string_len : sizeof(name) - 1;

	memcpy(name, r->string, len);
	name[len] = '\0';
	switch (json_next(r)) {
	case JSON_UINT:
		return !inner && !strcmp(name, "pid")
			       ? 0
			       : add_cell(numbers, outer, name, len, &r->uint);
	case JSON_NULL:
		return ends_in_bytes(name, len) ? add_cell(numbers, outer, name, len, NULL) : 0;
	case JSON_OBJECT:
		return inner ? pass_over(r) : take_object(r, name, true, numbers);
	case JSON_ARRAY:
		return !inner && !strcmp(name, "claims") ? take_claims(r, numbers) : pass_over(r);
	case JSON_BAD:
		return -EBADMSG;
	default:
		return 0;
	}
}

/* An object's members, its '{' already taken. */
static int take_object(struct json_reader *r, const char *outer, bool inner,
		       struct numbers *numbers)
{
	enum json_token token;

	while ((token = json_next(r)) == JSON_NAME) {
		int code = take_value(r, outer, inner, numbers);

		if (code < 0)
			return code;
	}
	return token == JSON_OBJECT_END ? 0 : -EBADMSG;
}

static int take_sum(struct json_reader *r, struct numbers_sum *sum)
{
	const struct json_member members[] = {
		{"tensors", NULL, &sum->tensors},
		{"consumed_tensors", NULL, &sum->consumed_tensors},
		{"bytes", NULL, &sum->bytes},
		{"consumed_bytes", NULL, &sum->consumed_bytes},
		{"resident_bytes", NULL, &sum->resident_bytes},
		{"rank", NULL, &sum->rank},
		{"ranks", NULL, &sum->ranks},
	};

	*sum = (struct numbers_sum){.resident_bytes = UINT64_MAX, .rank = UINT64_MAX};
	return json_take_object(r, members, sizeof(members) / sizeof(members[0]));
}

int numbers_parse(const char *json, struct numbers *ret_numbers, struct wload_error *err)
{
	static const char what[] = "the mount's stats.json";
	struct json_reader r;
	int code;

	*ret_numbers = (struct numbers){0};
	json_start(&r, (const uint8_t *)json, strlen(json));
	code = take_sum(&r, &ret_numbers->sum);
	if (code < 0)
		code = json_take_failed(&r, code, what, err);
	json_finish(&r);
	if (code < 0)
		return code;
	json_start(&r, (const uint8_t *)json, strlen(json));
	(void)json_next(&r);
	code = take_object(&r, "", false, ret_numbers);
	if (code == 0 && ret_numbers->claims.failed)
		code = -ENOMEM;
	if (code < 0)
		code = json_take_failed(&r, code, what, err);
	json_finish(&r);
	return code;
}

void numbers_free(struct numbers *numbers)
{
	free(numbers->cells);
	text_free(&numbers->claims);
	*numbers = (struct numbers){0};
}
