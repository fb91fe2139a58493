/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/checkpoint/json_member.h"
#include "loader/cli/layers.h"

static int take_layer(struct json_reader *r, struct layers *layers)
{
	struct layer *layer;
	int code;

	if (!grow_array(&layers->rows, &layers->cap, layers->count + 1, sizeof(*layers->rows)))
		return -ENOMEM;
	layer = &layers->rows[layers->count++];
	*layer = (struct layer){.resident_bytes = UINT64_MAX};
	const struct json_member members[] = {
		{"name", &layer->name, NULL},
		{"tensors", NULL, &layer->tensors},
		{"consumed_tensors", NULL, &layer->consumed_tensors},
		{"bytes", NULL, &layer->bytes},
		{"consumed_bytes", NULL, &layer->consumed_bytes},
		{"resident_bytes", NULL, &layer->resident_bytes},
	};
	code = json_take_members(r, members, sizeof(members) / sizeof(members[0]));
	if (code == 0 && (!layer->name || layer->consumed_bytes > layer->bytes ||
			  layer->consumed_tensors > layer->tensors))
		return -EBADMSG;
	return code;
}

static int take_layers(struct json_reader *r, struct layers *layers)
{
	enum json_token token;

	if (json_next(r) != JSON_ARRAY)
		return -EBADMSG;
	while ((token = json_next(r)) == JSON_OBJECT) {
		int code = take_layer(r, layers);

		if (code < 0)
			return code;
	}
	return token == JSON_ARRAY_END ? 0 : -EBADMSG;
}

static int take_file(struct json_reader *r, struct layers *layers)
{
	enum json_token token;
	bool found = false;

	if (json_next(r) != JSON_OBJECT)
		return -EBADMSG;
	while ((token = json_next(r)) == JSON_NAME) {
		bool ours = json_is_named(r, "layers");
		int code = !ours   ? json_take_member(r, NULL, 0)
			   : found ? -EBADMSG
				   : take_layers(r, layers);

		if (code < 0)
			return code;
		found = found || ours;
	}
	return found && token == JSON_OBJECT_END && json_next(r) == JSON_END ? 0 : -EBADMSG;
}

int layers_parse(const char *text, size_t len, struct layers *ret_layers, struct wload_error *err)
{
	struct json_reader r;
	int code;

	*ret_layers = (struct layers){0};
	json_start(&r, (const uint8_t *)text, len);
	code = take_file(&r, ret_layers);
	if (code < 0)
		code = json_take_failed(&r, code, "the mount's layers.json", err);
	json_finish(&r);
	return code;
}

void layers_free(struct layers *layers)
{
	for (size_t i = 0; i < layers->count; i++)
		free(layers->rows[i].name);
	free(layers->rows);
	*layers = (struct layers){0};
}
