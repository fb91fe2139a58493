/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor of .wload/trace (see trace_file.h): events are copied a few at a time, and spelled
 * without the trace's lock. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fused.h"
#include "fs/trace.h"
#include "fs/trace_file.h"
#include "loader/base/cleanup.h"

#define BATCH 128u

struct trace_cursor {
	uint64_t next, end; /* events */
	struct text lines;  /* spelled, the first `given` bytes read */
	size_t given;
	bool ended; /* the reader was told so */
};

static void add_head(const struct wloadfs *fs, uint64_t events, struct text *text)
{
	uint64_t us =
		(uint64_t)fs->mounted_at.tv_sec * 1000000 + (uint64_t)fs->mounted_at.tv_nsec / 1000;

	text_printf(text, "{\"trace\": 1, \"checkpoint\": ");
	text_json_string(text, wload_checkpoint_folder(fs->ckpt));
	text_printf(text, ", \"mounted_at\": ");
	event_seconds(us, text);
	text_printf(text,
		    ", \"events\": %" PRIu64 ", \"shard_reads_seen\": %s, \"unseen\": ", events,
		    trace_sees_shards(fs) ? "true" : "false");
	text_json_string(text, trace_sees_shards(fs)
				       ? "reads of the checkpoint's files beside the mount"
				       : "reads of shards, which the kernel reads itself "
					 "(shards=passthrough), and of the checkpoint's files "
					 "beside the mount");
	text_printf(text, "}\n");
}

struct trace_cursor *trace_cursor_new(const struct wloadfs *fs)
{
	struct trace_cursor *cursor = calloc(1, sizeof(*cursor));

	if (!cursor)
		return NULL;
	cursor->end = trace_counts(fs).events;
	add_head(fs, cursor->end, &cursor->lines);
	return cursor;
}

void trace_cursor_free(struct trace_cursor *cursor)
{
	if (!cursor)
		return;
	text_free(&cursor->lines);
	free(cursor);
}

static void add_event(const struct wloadfs *fs, const struct event *event, struct text *text)
{
	struct node node = node_from_id(event->node);
	struct event_words words = {.inv = fs->inv};
	CLEANUP_FREE char *path = NULL;

	if (node.kind == NODE_OWN) {
		words.file = path = own_path(&fs->own, node.index);
		if (event->kind == EVENT_READ)
			trace_touched(fs, node.index, event->a, event->b, &words.first, &words.end);
	} else if (node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE) {
		words.file = path = fused_path(fs, node);
	}
	event_line(event, &words, text);
}

/* Spells the next events; false behind the last. */
static bool go_on(const struct wloadfs *fs, struct trace_cursor *cursor)
{
	struct event batch[BATCH];
	uint64_t left = cursor->end - cursor->next, lost;
	uint32_t n =
		trace_copy(fs, cursor->next, left < BATCH ? (uint32_t)left : BATCH, batch, &lost);

	if (left == 0)
		return false;
	if (lost)
		text_printf(&cursor->lines, "{\"event\": \"dropped\", \"events\": %" PRIu64 "}\n",
			    lost);
	for (uint32_t i = 0; i < n; i++)
		add_event(fs, &batch[i], &cursor->lines);
	cursor->next += lost + n;
	if (cursor->end < cursor->next)
		cursor->end = cursor->next;
	return true;
}

ssize_t trace_cursor_read(const struct wloadfs *fs, struct trace_cursor *cursor, size_t len,
			  char *buf)
{
	struct text *lines = &cursor->lines;
	size_t n;

	if (cursor->ended)
		cursor->end = trace_counts(fs).events;
	cursor->ended = false;
	if (cursor->given == lines->len)
		cursor->given = lines->len = 0;
	while (lines->len - cursor->given < len && go_on(fs, cursor))
		;
	if (lines->failed)
		return -ENOMEM;
	n = lines->len - cursor->given < len ? lines->len - cursor->given : len;
	if (n)
		memcpy(buf, lines->s + cursor->given, n);
	cursor->ended = n == 0;
	cursor->given += n;
	return (ssize_t)n;
}
