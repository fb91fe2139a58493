/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/json_reader.h"
#include "loader/pipeline/source_text.h"

/* A member that is wanted: exactly one of the two is set. */
struct member {
	const char *name;
	char **string;
	uint64_t *number;
};

static bool is_named(const struct json_reader *r, const char *name)
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

/* A number below 0 (a time before 1970) is left out: no file matches it, which is safe. */
static int take_number(struct json_reader *r, uint64_t *ret_number)
{
	switch (json_next(r)) {
	case JSON_UINT:
		*ret_number = r->uint;
		return 0;
	case JSON_NUMBER:
		return 0;
	default:
		return -EBADMSG;
	}
}

/* Takes the value behind a member's name, when it is one of those wanted. */
static int take_member(struct json_reader *r, const struct member *members, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!is_named(r, members[i].name))
			continue;
		return members[i].string ? take_string(r, members[i].string)
					 : take_number(r, members[i].number);
	}
	return json_skip(r) == JSON_BAD ? -EBADMSG : 0;
}

/* An object's members, its '{' already taken. */
static int take_members(struct json_reader *r, const struct member *members, size_t count)
{
	enum json_token token;

	while ((token = json_next(r)) == JSON_NAME) {
		int code = take_member(r, members, count);

		if (code < 0)
			return code;
	}
	return token == JSON_OBJECT_END ? 0 : -EBADMSG;
}

static int take_shard(struct json_reader *r, struct source_head *head)
{
	struct source_backing *shard;
	int code;

	if (!grow_array(&head->shards, &head->cap, head->count + 1, sizeof(*head->shards)))
		return -ENOMEM;
	shard = &head->shards[head->count++];
	*shard = (struct source_backing){0};
	const struct member members[] = {
		{"name", &shard->name, NULL},	{"path", &shard->path, NULL},
		{"dev", NULL, &shard->dev},	{"ino", NULL, &shard->ino},
		{"bytes", NULL, &shard->bytes}, {"mtime_ns", NULL, &shard->mtime_ns},
	};
	code = take_members(r, members, sizeof(members) / sizeof(members[0]));
	return code == 0 && (!shard->name || !shard->path) ? -EBADMSG : code;
}

static int take_shards(struct json_reader *r, struct source_head *head)
{
	enum json_token token;

	if (json_next(r) != JSON_ARRAY)
		return -EBADMSG;
	while ((token = json_next(r)) == JSON_OBJECT) {
		int code = take_shard(r, head);

		if (code < 0)
			return code;
	}
	return token == JSON_ARRAY_END ? 0 : -EBADMSG;
}

static int take_head(struct json_reader *r, struct source_head *head)
{
	const struct member file = {"file", &head->file, NULL};
	enum json_token token;

	if (json_next(r) != JSON_OBJECT)
		return -EBADMSG;
	while ((token = json_next(r)) == JSON_NAME) {
		int code = is_named(r, "shards") ? take_shards(r, head) : take_member(r, &file, 1);

		if (code < 0)
			return code;
	}
	return token == JSON_OBJECT_END && json_next(r) == JSON_END ? 0 : -EBADMSG;
}

/* Says what is wrong with a text, in the reader's words where it is the JSON itself. */
static int text_failed(struct json_reader *r, int code, const char *what, struct wload_error *err)
{
	struct wload_error why = {0};

	if (code == -ENOMEM)
		return wload_fail(err, ENOMEM, "no memory to read %s", what);
	if (r->code && json_fail(r, &why) < 0)
		return wload_fail(err, why.code, "%s: %s", what, why.text);
	return wload_fail(err, EBADMSG, "%s has not the members that it should", what);
}

int source_parse_head(const char *line, size_t len, struct source_head *ret_head,
		      struct wload_error *err)
{
	struct json_reader r;
	int code;

	*ret_head = (struct source_head){0};
	json_start(&r, (const uint8_t *)line, len);
	code = take_head(&r, ret_head);
	if (code < 0)
		code = text_failed(&r, code, "the first line of the mount's index.jsonl", err);
	json_finish(&r);
	return code;
}

void source_head_free(struct source_head *head)
{
	for (size_t i = 0; i < head->count; i++) {
		free(head->shards[i].name);
		free(head->shards[i].path);
	}
	free(head->shards);
	free(head->file);
	*head = (struct source_head){0};
}

const struct source_backing *source_head_find(const struct source_head *head, const char *name)
{
	for (size_t i = 0; i < head->count; i++)
		if (strcmp(head->shards[i].name, name) == 0)
			return &head->shards[i];
	return NULL;
}

static int take_object(struct json_reader *r, const struct member *members, size_t count)
{
	int code = json_next(r) == JSON_OBJECT ? take_members(r, members, count) : -EBADMSG;

	return code == 0 && json_next(r) != JSON_END ? -EBADMSG : code;
}

int source_parse_consumed(const char *line, size_t len, char **ret_name, struct wload_error *err)
{
	CLEANUP_FREE char *name = NULL;
	CLEANUP_FREE char *state = NULL;
	const struct member members[] = {{"name", &name, NULL}, {"state", &state, NULL}};
	struct json_reader r;
	int code;

	*ret_name = NULL;
	json_start(&r, (const uint8_t *)line, len);
	code = take_object(&r, members, 2);
	if (code == 0 && (!name || !state))
		code = -EBADMSG;
	if (code < 0)
		code = text_failed(&r, code, "a line of the mount's index.jsonl", err);
	else if (strcmp(state, "consumed") == 0)
		*ret_name = TAKE_PTR(name);
	json_finish(&r);
	return code;
}

int source_parse_stats(const char *text, size_t len, uint64_t *ret_pid, uint64_t *ret_consumed,
		       struct wload_error *err)
{
	const struct member members[] = {{"pid", NULL, ret_pid},
					 {"consumed_tensors", NULL, ret_consumed}};
	struct json_reader r;
	int code;

	*ret_pid = *ret_consumed = 0;
	json_start(&r, (const uint8_t *)text, len);
	code = take_object(&r, members, 2);
	if (code < 0)
		code = text_failed(&r, code, "the mount's stats.json", err);
	json_finish(&r);
	return code;
}
