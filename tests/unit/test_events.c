/* SPDX-License-Identifier: Apache-2.0 */
/* fs/events.c: each kind's line, and that a full ring says what it lost. */

#include <stdlib.h>
#include <string.h>

#include "fs/events.h"
#include "make_inventory.h"
#include "tap.h"

#define TENSOR(i) ((uint64_t)NODE_TENSOR << 40 | (i))
#define NPY(i)	  ((uint64_t)NODE_NPY << 40 | (i))
#define OWN(i)	  ((uint64_t)NODE_OWN << 40 | (i))

static const struct made_tensor made[] = {{"a.0.w", 10}, {"a.0.\"x\"", 10}, {"b", 10}};

static const struct {
	struct event event;
	const char *file;
	uint32_t first, end;
	const char *want;
} rows[] = {
	{{1234567, EVENT_OPEN, TENSOR(0), .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 1.234567, \"pid\": 7, \"event\": \"open\", \"tensor\": \"a.0.w\"}\n"},
	{{5, EVENT_OPEN, NPY(1), .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"open\", \"tensor\": \"a.0.\\\"x\\\"\", "
	 "\"npy\": true}\n"},
	{{5, EVENT_READ, TENSOR(2), .a = 3, .b = 4, .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"read\", \"tensor\": \"b\", \"offset\": 3, "
	 "\"bytes\": 4}\n"},
	{{5, EVENT_READ, OWN(9), .a = 1000, .b = 25, .pid = 7},
	 "model.safetensors",
	 0,
	 3,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"read\", \"file\": \"model.safetensors\", "
	 "\"offset\": 1000, \"bytes\": 25, \"tensors\": 3, \"first\": \"a.0.w\", \"last\": "
	 "\"b\"}\n"},
	{{5, EVENT_READ, OWN(8), .a = 0, .b = 25, .pid = 7},
	 "config.json",
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"read\", \"file\": \"config.json\", "
	 "\"offset\": 0, \"bytes\": 25}\n"},
	{{5, EVENT_CONSUME, TENSOR(2), .a = EVENT_BY_UNLINK, .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"consume\", \"tensor\": \"b\", \"by\": "
	 "\"unlink\"}\n"},
	{{5, EVENT_CONSUME_PREFIX, TENSOR(0), .a = 3, .count = 2, .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"consume\", \"by\": \"prefix\", \"prefix\": "
	 "\"a.0\", \"tensors\": 2}\n"},
	{{5, EVENT_RESTORE_ALL, 0, .count = 2, .pid = 7},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000005, \"pid\": 7, \"event\": \"restore\", \"by\": \"all\", \"tensors\": "
	 "2}\n"},
	{{9, EVENT_MISSING, TENSOR(2), .a = 5, .b = 7, .pid = 8},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000009, \"pid\": 8, \"event\": \"missing\", \"tensor\": \"b\", "
	 "\"consumed_at\": 0.000005, \"consumed_by\": 7}\n"},
	{{9, EVENT_REREAD, TENSOR(2), .a = 5, .b = 7, .count = 3, .pid = 8},
	 NULL,
	 0,
	 0,
	 "{\"t\": 0.000009, \"pid\": 8, \"event\": \"reread\", \"tensor\": \"b\", \"tensors\": 3, "
	 "\"consumed_at\": 0.000005, \"consumed_by\": 7}\n"},
};

static void test_lines(struct tap *tap)
{
	struct wload_inventory *inv = make_inventory(made, 3);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event_words words = {inv, rows[i].file, rows[i].first, rows[i].end};
		struct text text = {0};

		event_line(&rows[i].event, &words, &text);
		if (!ok(tap, text.s && strcmp(text.s, rows[i].want) == 0, "line %zu", i))
			printf("# %s", text.s);
		text_free(&text);
	}
	inventory_free(inv);
}

static void test_ring(struct tap *tap)
{
	struct events events;
	struct event got[4];
	uint64_t lost;

	ok(tap, sizeof(struct event) == 40, "an event is 40 bytes");
	ok(tap, events_init(&events) == 0, "a ring");
	ok(tap, events_copy(&events, 0, 4, got, &lost) == 0 && lost == 0, "nothing happened yet");
	for (uint64_t i = 0; i < EVENTS_MAX + 10ull; i++)
		events_add(&events, &(struct event){.a = i});
	ok(tap, events_copy(&events, 0, 4, got, &lost) == 4 && lost == 10 && got[0].a == 10,
	   "the oldest are lost, and counted");
	ok(tap, events_copy(&events, 9, 4, got, &lost) == 4 && lost == 1, "one is gone");
	ok(tap, events_copy(&events, 10, 4, got, &lost) == 4 && lost == 0 && got[3].a == 13,
	   "the oldest that is kept");
	ok(tap,
	   events_copy(&events, events.end - 2, 4, got, &lost) == 2 && got[1].a == events.end - 1,
	   "up to the last");
	ok(tap, events_copy(&events, events.end, 4, got, &lost) == 0 && lost == 0, "no more");
	events_free(&events);
}

int main(void)
{
	struct tap tap = {0};

	test_lines(&tap);
	test_ring(&tap);
	return tap_done(&tap);
}
