/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "loader/checkpoint/json_member.h"

bool json_is_named(const struct json_reader *r, const char *name)
{
	return r->string_len == strlen(name) && memcmp(r->string, name, r->string_len) == 0;
}

static int take_string(struct json_reader *r, char **ret_string)
{
	enum json_token token = json_next(r);

	if (token == JSON_NULL)
		return 0;
	if (token != JSON_STRING || *ret_string)
		return -EBADMSG;
	*ret_string = strndup(r->string, r->string_len);
	return *ret_string ? 0 : -ENOMEM;
}

static int take_number(struct json_reader *r, uint64_t *ret_number)
{
	switch (json_next(r)) {
	case JSON_UINT:
		*ret_number = r->uint;
		return 0;
	case JSON_NUMBER:
	case JSON_NULL:
		return 0;
	default:
		return -EBADMSG;
	}
}

int json_take_member(struct json_reader *r, const struct json_member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!json_is_named(r, members[i].name))
			continue;
		return members[i].string ? take_string(r, members[i].string)
					 : take_number(r, members[i].number);
	}
	return json_skip(r) == JSON_BAD ? -EBADMSG : 0;
}

int json_take_members(struct json_reader *r, const struct json_member *members, size_t count)
{
	enum json_token token;

	while ((token = json_next(r)) == JSON_NAME) {
		int code = json_take_member(r, members, count);

		if (code < 0)
			return code;
	}
	return token == JSON_OBJECT_END ? 0 : -EBADMSG;
}

int json_take_object(struct json_reader *r, const struct json_member *members, size_t count)
{
	int code = json_next(r) == JSON_OBJECT ? json_take_members(r, members, count) : -EBADMSG;

	return code == 0 && json_next(r) != JSON_END ? -EBADMSG : code;
}

int json_take_failed(const struct json_reader *r, int code, const char *what,
		     struct wload_error *err)
{
	struct wload_error why = {0};

	if (code == -ENOMEM)
		return wload_fail(err, ENOMEM, "no memory to read %s", what);
	if (r->code && json_fail(r, &why) < 0)
		return wload_fail(err, why.code, "%s: %s", what, why.text);
	return wload_fail(err, EBADMSG, "%s has not the members that it should", what);
}
