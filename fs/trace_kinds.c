/* SPDX-License-Identifier: Apache-2.0 */
/* From marks to kinds, and their words (see trace_kinds.h). */

#include <inttypes.h>
#include <string.h>

#include "fs/trace_kinds.h"
#include "loader/checkpoint/names.h"

#define LINE_NAMES 3u

static const struct {
	const char *name;
	const char *line; /* behind "N tensors " */
	bool of_reads;
} kinds[TRACE_KINDS] = {
	[TRACE_NEVER_READ] = {"never_read", "never read", true},
	[TRACE_PARTLY_READ] = {"partly_read", "partly read", true},
	[TRACE_READ_NOT_CONSUMED] = {"read_not_consumed", "read and never consumed", true},
	[TRACE_CONSUMED_UNREAD] = {"consumed_unread", "consumed before all of it was read", true},
	[TRACE_REREAD] = {"reread", "read again after consumption", true},
	[TRACE_MISSING] = {"missing", "looked for after consumption", false},
};

unsigned int trace_kinds_of(uint8_t marks, bool consumed, uint64_t bytes)
{
	unsigned int of = 0;

	if (!consumed && bytes)
		of |= 1u << (marks & MARK_READ	    ? TRACE_READ_NOT_CONSUMED
			     : marks & MARK_TOUCHED ? TRACE_PARTLY_READ
						    : TRACE_NEVER_READ);
	if (marks & MARK_CONSUMED_UNREAD)
		of |= 1u << TRACE_CONSUMED_UNREAD;
	if (marks & MARK_REREAD)
		of |= 1u << TRACE_REREAD;
	if (marks & MARK_MISSED)
		of |= 1u << TRACE_MISSING;
	return of;
}

static unsigned int kinds_at(const struct consumed *consumed, const uint8_t *marks, uint32_t tensor)
{
	return trace_kinds_of(marks[tensor], consumed_has(consumed, tensor),
			      wload_inventory_tensor(consumed->inv, tensor).bytes);
}

void trace_sum(const struct consumed *consumed, const uint8_t *marks, struct trace_sum *ret)
{
	*ret = (struct trace_sum){0};
	for (uint32_t i = 0; i < wload_inventory_count(consumed->inv); i++) {
		unsigned int of = kinds_at(consumed, marks, i);

		for (int k = 0; k < TRACE_KINDS; k++) {
			if (!(of >> k & 1))
				continue;
			if (ret->count[k] < TRACE_NAMES_MAX)
				ret->first[k][ret->count[k]] = i;
			ret->count[k]++;
		}
	}
}

const char *trace_kind_name(enum trace_kind kind)
{
	return kinds[kind].name;
}

bool trace_kind_is_of_reads(enum trace_kind kind)
{
	return kinds[kind].of_reads;
}

/* Returns whether the kind's value is still to come. */
static bool begin_kind(struct text *text, int kind, bool seen)
{
	text_printf(text, "%s\n    \"%s\": ", kind ? "," : "", kinds[kind].name);
	if (!seen && kinds[kind].of_reads) {
		text_printf(text, "null");
		return false;
	}
	return true;
}

void trace_sum_json(const struct trace_sum *sum, const struct wload_inventory *inv, bool seen,
		    struct text *text)
{
	for (int k = 0; k < TRACE_KINDS; k++) {
		if (!begin_kind(text, k, seen))
			continue;
		text_printf(text, "{\"tensors\": %" PRIu32 ", \"first\": [", sum->count[k]);
		for (uint32_t i = 0; i < sum->count[k] && i < TRACE_NAMES_MAX; i++) {
			text_printf(text, "%s", i ? ", " : "");
			text_json_string(text, wload_inventory_tensor(inv, sum->first[k][i]).name);
		}
		text_printf(text, "]}");
	}
}

void trace_sum_line(const struct trace_sum *sum, const struct wload_inventory *inv,
		    enum trace_kind kind, struct text *text)
{
	uint32_t count = sum->count[kind];

	text_printf(text, "%" PRIu32 " %s %s:", count, count == 1 ? "tensor" : "tensors",
		    kinds[kind].line);
	for (uint32_t i = 0; i < count && i < LINE_NAMES; i++) {
		const char *name = wload_inventory_tensor(inv, sum->first[kind][i]).name;
		char file[NAME_FILE_MAX + 1];

		/* As in tensors/: no name breaks the line. */
		name_to_file(name, strlen(name), "", file);
		text_printf(text, "%s '%s'", i ? "," : "", file);
	}
	if (count > LINE_NAMES)
		text_printf(text, " and %" PRIu32 " more", count - LINE_NAMES);
}

void trace_lists_json(const struct consumed *consumed, const uint8_t *marks, bool seen,
		      struct text *text)
{
	text_printf(text, "{");
	for (int k = 0; k < TRACE_KINDS; k++) {
		bool any = false;

		if (!begin_kind(text, k, seen))
			continue;
		text_printf(text, "[");
		for (uint32_t i = 0; i < wload_inventory_count(consumed->inv); i++) {
			if (!(kinds_at(consumed, marks, i) >> k & 1))
				continue;
			text_printf(text, "%s\n      ", any ? "," : "");
			text_json_string(text, wload_inventory_tensor(consumed->inv, i).name);
			any = true;
		}
		text_printf(text, "]");
	}
	text_printf(text, "\n}\n");
}
