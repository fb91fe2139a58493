/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/source_text.c: a mount's own words. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/source_text.h"
#include "tap.h"

static const struct head_row {
	const char *name, *line;
	int want;
	const char *file;
	size_t shards;
} head_rows[] = {
	{"a folder",
	 "{\"checkpoint\": \"/c\", \"file\": null, \"tensors\": 2, \"shards\": [{\"name\": \"a\", "
	 "\"path\": \"/c/a\", \"dev\": 1, \"ino\": 2, \"bytes\": 3, \"mtime_ns\": 4}]}",
	 0, NULL, 1},
	{"one file", "{\"file\": \"m.safetensors\", \"shards\": []}", 0, "m.safetensors", 0},
	{"unknown members are passed over",
	 "{\"x\": {\"y\": [1]}, \"shards\": [{\"path\": \"p\", \"new\": [2], \"name\": \"n\"}]}", 0,
	 NULL, 1},
	{"a time before 1970",
	 "{\"shards\": [{\"path\": \"p\", \"name\": \"n\", \"mtime_ns\": -4}]}", 0, NULL, 1},
	{"a shard without a path", "{\"shards\": [{\"name\": \"n\"}]}", -EBADMSG, NULL, 0},
	{"a number where a name should be", "{\"file\": 5, \"shards\": []}", -EBADMSG, NULL, 0},
	{"cut short", "{\"shards\": [{\"name\": \"n\"", -EBADMSG, NULL, 0},
	{"something behind it", "{\"shards\": []} x", -EBADMSG, NULL, 0},
	{"no object", "[]", -EBADMSG, NULL, 0},
	{"empty", "", -EBADMSG, NULL, 0},
};

static const struct tensor_row {
	const char *name, *line;
	int want;
	const char *consumed;
} tensor_rows[] = {
	{"live", "{\"name\": \"a\", \"state\": \"live\"}", 0, NULL},
	{"consumed", "{\"name\": \"a.b\", \"shape\": [1, 2], \"state\": \"consumed\"}", 0, "a.b"},
	{"a NUL in the name", "{\"name\": \"a\\u0000b\", \"state\": \"consumed\"}", 0,
	 "a\xC0\x80"
	 "b"},
	{"named consumed", "{\"name\": \"consumed\", \"state\": \"live\"}", 0, NULL},
	{"no state", "{\"name\": \"a\"}", -EBADMSG, NULL},
	{"cut short", "{\"name\": \"a\", \"state", -EBADMSG, NULL},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check_head(struct tap *tap, const struct head_row *row)
{
	struct wload_error err = {0};
	struct source_head head;
	int r = source_parse_head(row->line, strlen(row->line), &head, &err);

	ok(tap,
	   r == row->want && (r < 0 || (same(head.file, row->file) && head.count == row->shards)),
	   "head: %s (%s)", row->name, err.text);
	source_head_free(&head);
}

int main(void)
{
	static const char stats[] =
		"{\"pid\": 77, \"consumed_tensors\": 5, \"more\": {\"pid\": 1}}";
	struct wload_error err = {0};
	struct source_head head;
	struct tap tap = {0};
	uint64_t pid, consumed;

	for (size_t i = 0; i < COUNT(head_rows); i++)
		check_head(&tap, &head_rows[i]);
	for (size_t i = 0; i < COUNT(tensor_rows); i++) {
		const struct tensor_row *row = &tensor_rows[i];
		char *name = NULL;
		int r = source_parse_consumed(row->line, strlen(row->line), &name, &err);

		ok(&tap, r == row->want && same(name, row->consumed), "tensor: %s", row->name);
		free(name);
	}
	ok(&tap,
	   source_parse_stats(stats, strlen(stats), &pid, &consumed, &err) == 0 && pid == 77 &&
		   consumed == 5,
	   "stats: pid and consumed_tensors of the outer object");
	(void)source_parse_head(head_rows[0].line, strlen(head_rows[0].line), &head, &err);
	ok(&tap,
	   head.count == 1 && head.shards[0].dev == 1 && head.shards[0].ino == 2 &&
		   head.shards[0].bytes == 3 && head.shards[0].mtime_ns == 4 &&
		   source_head_find(&head, "a") == &head.shards[0] && !source_head_find(&head, "b"),
	   "head: a shard's members");
	source_head_free(&head);
	return tap_done(&tap);
}
