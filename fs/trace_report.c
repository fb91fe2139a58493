/* SPDX-License-Identifier: Apache-2.0 */
/* Tells what a trace concludes (see trace_report.h). */

#include <errno.h>
#include <inttypes.h>

#include "fs/log.h"
#include "fs/trace.h"
#include "fs/trace_report.h"
#include "loader/base/cleanup.h"

int trace_report_sum(const struct wloadfs *fs, struct trace_sum *ret)
{
	CLEANUP_FREE uint8_t *marks = trace_marks(fs);

	if (!marks)
		return -ENOMEM;
	trace_sum(&fs->claims.consumed, marks, ret);
	return 0;
}

void trace_report_stats(const struct wloadfs *fs, struct text *text)
{
	struct trace_counts counts;
	struct trace_sum sum;

	if (!fs->trace) {
		text_printf(text, "  \"trace\": null,\n");
		return;
	}
	counts = trace_counts(fs);
	if (trace_report_sum(fs, &sum) < 0) {
		text->failed = true;
		return;
	}
	text_printf(text,
		    "  \"trace\": {\n    \"events\": %" PRIu64 ", \"dropped\": %" PRIu64
		    ", \"shard_reads_seen\": %s,",
		    counts.events, counts.dropped, trace_sees_shards(fs) ? "true" : "false");
	trace_sum_json(&sum, fs->inv, trace_sees_shards(fs), text);
	text_printf(text, "\n  },\n");
}

char *trace_report_lists(struct wloadfs *fs, uint32_t who, size_t *ret_len)
{
	CLEANUP_FREE uint8_t *marks = trace_marks(fs);
	struct text text CLEANUP(text_free) = {0};

	(void)who;
	if (!marks)
		return NULL;
	trace_lists_json(&fs->claims.consumed, marks, trace_sees_shards(fs), &text);
	if (text.failed)
		return NULL;
	*ret_len = text.len;
	return TAKE_PTR(text.s);
}

void trace_report_log(const struct wloadfs *fs)
{
	struct text line CLEANUP(text_free) = {0};
	struct trace_sum sum;

	if (!fs->trace || trace_report_sum(fs, &sum) < 0)
		return;
	if (!trace_sees_shards(fs))
		log_say("trace: reads of shards were not seen, the kernel reads them itself "
			"(shards=passthrough): what was not read is not known");
	for (int k = 0; k < TRACE_KINDS; k++) {
		if (!sum.count[k] ||
		    (trace_kind_is_of_reads((enum trace_kind)k) && !trace_sees_shards(fs)))
			continue;
		line.len = 0;
		text_printf(&line, "trace: ");
		trace_sum_line(&sum, fs->inv, (enum trace_kind)k, &line);
		if (!line.failed)
			log_say(line.s);
	}
}
