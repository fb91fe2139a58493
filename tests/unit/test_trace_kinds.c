/* SPDX-License-Identifier: Apache-2.0 */
/* fs/trace_kinds.c: what marks mean, and how that is told. */

#include <string.h>

#include "fs/trace_kinds.h"
#include "make_inventory.h"
#include "tap.h"

#define BIT(kind) (1u << (kind))

static const struct {
	const char *name;
	uint8_t marks;
	bool consumed;
	uint64_t bytes;
	unsigned int want;
} rows[] = {
	{"untouched", 0, false, 10, BIT(TRACE_NEVER_READ)},
	{"half read", MARK_TOUCHED, false, 10, BIT(TRACE_PARTLY_READ)},
	{"read", MARK_TOUCHED | MARK_READ, false, 10, BIT(TRACE_READ_NOT_CONSUMED)},
	{"said to be loaded", MARK_READ, false, 10, BIT(TRACE_READ_NOT_CONSUMED)},
	{"read and consumed", MARK_TOUCHED | MARK_READ, true, 10, 0},
	{"consumed unread", MARK_CONSUMED_UNREAD, true, 10, BIT(TRACE_CONSUMED_UNREAD)},
	{"consumed unread, restored, read", MARK_CONSUMED_UNREAD | MARK_READ, false, 10,
	 BIT(TRACE_CONSUMED_UNREAD) | BIT(TRACE_READ_NOT_CONSUMED)},
	{"read again", MARK_READ | MARK_REREAD, true, 10, BIT(TRACE_REREAD)},
	{"looked for", MARK_READ | MARK_MISSED, true, 10, BIT(TRACE_MISSING)},
	{"without bytes", 0, false, 0, 0},
	{"without bytes, looked for", MARK_MISSED, true, 0, BIT(TRACE_MISSING)},
};

static void test_rows(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(tap,
		   trace_kinds_of(rows[i].marks, rows[i].consumed, rows[i].bytes) == rows[i].want,
		   "%s", rows[i].name);
}

static bool is_text(struct text *text, const char *want)
{
	bool same = text->s && strcmp(text->s, want) == 0;

	if (!same)
		printf("# %s\n", text->s ? text->s : "(nothing)");
	text_free(text);
	return same;
}

static void test_words(struct tap *tap)
{
	static const struct made_tensor made[] = {{"a", 1},   {"b\n", 1}, {"c", 1}, {"d", 1},
						  {"e", 1},   {"f", 1},	  {"g", 1}, {"h", 1},
						  {"i/j", 1}, {"k", 1}};
	struct wload_inventory *inv = make_inventory(made, 10);
	uint8_t marks[10] = {MARK_READ, [4] = MARK_READ, [9] = MARK_TOUCHED};
	struct consumed consumed;
	struct text text = {0};
	struct trace_sum sum;

	ok(tap, consumed_init(&consumed, inv) == 0, "nothing consumed");
	(void)consumed_set(&consumed, 4);
	trace_sum(&consumed, marks, &sum);
	ok(tap,
	   sum.count[TRACE_NEVER_READ] == 7 && sum.count[TRACE_PARTLY_READ] == 1 &&
		   sum.count[TRACE_READ_NOT_CONSUMED] == 1 && sum.count[TRACE_REREAD] == 0,
	   "counts");
	ok(tap, sum.first[TRACE_NEVER_READ][0] == 1 && sum.first[TRACE_NEVER_READ][6] == 8,
	   "in disk order");
	trace_sum_line(&sum, inv, TRACE_NEVER_READ, &text);
	ok(tap, is_text(&text, "7 tensors never read: 'b%0A', 'c', 'd' and 4 more"),
	   "a line names three, spelled as files");
	trace_sum_line(&sum, inv, TRACE_PARTLY_READ, &text);
	ok(tap, is_text(&text, "1 tensor partly read: 'k'"), "a line of one");
	trace_sum_json(&sum, inv, false, &text);
	ok(tap,
	   is_text(&text,
		   "\n    \"never_read\": null,\n    \"partly_read\": null,"
		   "\n    \"read_not_consumed\": null,\n    \"consumed_unread\": null,"
		   "\n    \"reread\": null,\n    \"missing\": {\"tensors\": 0, \"first\": []}"),
	   "what reads tell is null where they are not seen");
	trace_lists_json(&consumed, marks, true, &text);
	ok(tap, text.s && strstr(text.s, "\"never_read\": [\n      \"b\\u000a\",\n      \"c\""),
	   "lists have every name");
	text_free(&text);
	for (int i = 0; i < 10; i++)
		marks[i] = 0;
	trace_sum(&consumed, marks, &sum);
	trace_sum_json(&sum, inv, true, &text);
	ok(tap,
	   text.s && strstr(text.s, "{\"tensors\": 9, \"first\": [\"a\"") &&
		   strstr(text.s, "\"i/j\"]}") && !strstr(text.s, "\"k\""),
	   "a sum names the first eight");
	text_free(&text);
	consumed_free(&consumed);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	test_rows(&tap);
	test_words(&tap);
	return tap_done(&tap);
}
