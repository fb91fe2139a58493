/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/json_member.h"
#include "loader/pipeline/source_text.h"

static int take_shard(struct json_reader *r, struct source_head *head)
{
	struct source_backing *shard;
	int code;

	if (!grow_array(&head->shards, &head->cap, head->count + 1, sizeof(*head->shards)))
		return -ENOMEM;
	shard = &head->shards[head->count++];
	*shard = (struct source_backing){0};
	const struct json_member members[] = {
		{"name", &shard->name, NULL},	{"path", &shard->path, NULL},
		{"dev", NULL, &shard->dev},	{"ino", NULL, &shard->ino},
		{"bytes", NULL, &shard->bytes}, {"mtime_ns", NULL, &shard->mtime_ns},
	};
	code = json_take_members(r, members, sizeof(members) / sizeof(members[0]));
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
	const struct json_member file = {"file", &head->file, NULL};
	enum json_token token;

	if (json_next(r) != JSON_OBJECT)
		return -EBADMSG;
	while ((token = json_next(r)) == JSON_NAME) {
		int code = json_is_named(r, "shards") ? take_shards(r, head)
						      : json_take_member(r, &file, 1);

		if (code < 0)
			return code;
	}
	return token == JSON_OBJECT_END && json_next(r) == JSON_END ? 0 : -EBADMSG;
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
		code = json_take_failed(&r, code, "the first line of the mount's index.jsonl", err);
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

int source_parse_consumed(const char *line, size_t len, char **ret_name, struct wload_error *err)
{
	CLEANUP_FREE char *name = NULL;
	CLEANUP_FREE char *state = NULL;
	const struct json_member members[] = {{"name", &name, NULL}, {"state", &state, NULL}};
	struct json_reader r;
	int code;

	*ret_name = NULL;
	json_start(&r, (const uint8_t *)line, len);
	code = json_take_object(&r, members, 2);
	if (code == 0 && (!name || !state))
		code = -EBADMSG;
	if (code < 0)
		code = json_take_failed(&r, code, "a line of the mount's index.jsonl", err);
	else if (strcmp(state, "consumed") == 0)
		*ret_name = TAKE_PTR(name);
	json_finish(&r);
	return code;
}

int source_parse_stats(const char *text, size_t len, uint64_t *ret_pid, uint64_t *ret_consumed,
		       struct wload_error *err)
{
	const struct json_member members[] = {{"pid", NULL, ret_pid},
					      {"consumed_tensors", NULL, ret_consumed}};
	struct json_reader r;
	int code;

	*ret_pid = *ret_consumed = 0;
	json_start(&r, (const uint8_t *)text, len);
	code = json_take_object(&r, members, 2);
	if (code < 0)
		code = json_take_failed(&r, code, "the mount's stats.json", err);
	json_finish(&r);
	return code;
}
