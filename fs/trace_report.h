/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TRACE_REPORT_H
#define WLOADFS_TRACE_REPORT_H

/* Where a trace's conclusions (trace_kinds.h) are told: stats.json, a file of their own, metrics,
 * the log at the end. Each asks the marks as they are now. */

#include "fs/fs.h"
#include "fs/trace_kinds.h"
#include "loader/base/text.h"

/* Sums up. Returns 0 or -ENOMEM. */
int trace_report_sum(const struct wloadfs *fs, struct trace_sum *ret);

/* Appends the member "trace" of stats.json: null without a trace. */
void trace_report_stats(const struct wloadfs *fs, struct text *text);

/* The text of .wload/trace-summary.json, for free(); NULL when memory is short. */
char *trace_report_lists(struct wloadfs *fs, uint32_t who, size_t *ret_len);

/* Says one line for each kind that is not empty. */
void trace_report_log(const struct wloadfs *fs);

#endif
