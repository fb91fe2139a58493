/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_REPORT_H
#define WLOAD_CLI_REPORT_H

/* What a load did, for people and for programs. Pure. */

#include "loader/base/text.h"
#include "wloadfs/loader.h"

/* Appends one JSON object and a newline: the members of struct wload_report by their names, and
 * "unused", the names of tensors that no parameter needed. "cgroup_peak_bytes" only when there is a
 * cgroup, and not for the root. Numbers are whole but for "seconds" and "bytes_per_second". */
void report_json(const struct wload_load *load, struct text *text);

/* Appends a few lines.
 *
 * path  as the user named it
 * keep  consuming was not asked for */
void report_summary(const struct wload_load *load, const char *path, bool keep, struct text *text);

#endif
