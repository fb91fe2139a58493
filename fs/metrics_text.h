/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_METRICS_TEXT_H
#define WLOADFS_METRICS_TEXT_H

/* Prometheus's text format 0.0.4. Pure.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format: of each family a
 * HELP and a TYPE line, then its samples; in a label's value backslash, quote and newline are
 * escaped, and it is UTF-8. */

#include "loader/base/text.h"
#include <stdint.h>

enum metrics_type { METRICS_GAUGE, METRICS_COUNTER };

/* Begins a family.
 *
 * name  of a counter: ends in "_total"
 * help  one line without backslashes */
void metrics_family(struct text *text, const char *name, enum metrics_type type, const char *help);

/* Adds a sample; label NULL: without one. */
void metrics_sample(struct text *text, const char *name, const char *label, const char *label_value,
		    uint64_t value);

/* Appends a label's value in quotes; what is not UTF-8 is U+FFFD. */
void metrics_label_value(struct text *text, const char *s);

#endif
