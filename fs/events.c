/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps events and spells them as JSON (see events.h). */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/claims.h"
#include "fs/events.h"
#include "loader/base/cleanup.h"

static const char *const kind_names[EVENT_KINDS] = {
	[EVENT_OPEN] = "open",		 [EVENT_READ] = "read",
	[EVENT_CONSUME] = "consume",	 [EVENT_CONSUME_PREFIX] = "consume",
	[EVENT_CONSUME_ALL] = "consume", [EVENT_RESTORE_PREFIX] = "restore",
	[EVENT_RESTORE_ALL] = "restore", [EVENT_REREAD] = "reread",
	[EVENT_MISSING] = "missing",
};

static const char *const way_names[] = {
	[EVENT_BY_UNLINK] = "unlink",
	[EVENT_BY_KEY] = "key",
	[EVENT_BY_LOADED] = "loaded",
};

int events_init(struct events *events)
{
	*events = (struct events){.ring = calloc(EVENTS_MAX, sizeof(*events->ring))};
	return events->ring ? 0 : -ENOMEM;
}

void events_free(struct events *events)
{
	free(events->ring);
	events->ring = NULL;
}

void events_add(struct events *events, const struct event *event)
{
	events->ring[events->end++ % EVENTS_MAX] = *event;
}

uint32_t events_copy(const struct events *events, uint64_t from, uint32_t max, struct event *ret,
		     uint64_t *ret_lost)
{
	uint64_t oldest = events->end > EVENTS_MAX ? events->end - EVENTS_MAX : 0;
	uint32_t n = 0;

	*ret_lost = from < oldest ? oldest - from : 0;
	for (from += *ret_lost; n < max && from < events->end; from++)
		ret[n++] = events->ring[from % EVENTS_MAX];
	return n;
}

/* ---- lines ---- */

void event_seconds(uint64_t us, struct text *text)
{
	text_printf(text, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

static void add_name(struct text *text, const char *key, const struct wload_inventory *inv,
		     uint32_t tensor)
{
	text_printf(text, ", \"%s\": ", key);
	text_json_string(text, wload_inventory_tensor(inv, tensor).name);
}

/* The file that was opened or read. */
static void add_file(struct text *text, struct node node, const struct event_words *words)
{
	if (node.kind == NODE_OWN || node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE) {
		text_printf(text, ", \"file\": ");
		text_json_string(text, words->file ? words->file : "?");
		return;
	}
	add_name(text, "tensor", words->inv, node.index);
	if (node.kind == NODE_NPY)
		text_printf(text, ", \"npy\": true");
}

static void add_read(struct text *text, const struct event *event, const struct event_words *words)
{
	text_printf(text, ", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu32, event->a, event->b);
	if (words->first >= words->end)
		return;
	text_printf(text, ", \"tensors\": %" PRIu32, words->end - words->first);
	add_name(text, "first", words->inv, words->first);
	add_name(text, "last", words->inv, words->end - 1);
}

/* The prefix is the beginning of a name; in the command it has no dot behind. */
static void add_prefix(struct text *text, const struct event *event, uint32_t tensor,
		       const struct event_words *words)
{
	CLEANUP_FREE char *prefix =
		strndup(wload_inventory_tensor(words->inv, tensor).name, (size_t)event->a);

	text_printf(text, ", \"by\": \"prefix\", \"prefix\": ");
	text_json_string(text, prefix ? prefix : "");
	text_printf(text, ", \"tensors\": %" PRIu32, event->count);
}

/* Who consumed the tensor, and when. */
static void add_culprit(struct text *text, const struct event *event)
{
	if (event->kind == EVENT_REREAD && event->count > 1)
		text_printf(text, ", \"tensors\": %" PRIu32, event->count);
	if (!event->a)
		return;
	text_printf(text, ", \"consumed_at\": ");
	event_seconds(event->a, text);
	text_printf(text, ", \"consumed_by\": %" PRId32, (int32_t)event->b);
}

void event_line(const struct event *event, const struct event_words *words, struct text *text)
{
	struct node node = node_from_id(event->node);

	text_printf(text, "{\"t\": ");
	event_seconds(event->at_us, text);
	text_printf(text, ", \"pid\": %" PRId32 ", \"event\": \"%s\"", event->pid,
		    kind_names[event->kind]);
	if (node.who != CLAIMS_ROOT)
		text_printf(text, ", \"rank\": %u", node.who - 1u);
	switch ((enum event_kind)event->kind) {
	case EVENT_CONSUME_PREFIX:
	case EVENT_RESTORE_PREFIX:
		add_prefix(text, event, node.index, words);
		break;
	case EVENT_CONSUME_ALL:
	case EVENT_RESTORE_ALL:
		text_printf(text, ", \"by\": \"all\", \"tensors\": %" PRIu32, event->count);
		break;
	default:
		add_file(text, node, words);
	}
	if (event->kind == EVENT_READ)
		add_read(text, event, words);
	else if (event->kind == EVENT_CONSUME)
		text_printf(text, ", \"by\": \"%s\"", way_names[event->a]);
	else if (event->kind == EVENT_REREAD || event->kind == EVENT_MISSING)
		add_culprit(text, event);
	text_printf(text, "}\n");
}
