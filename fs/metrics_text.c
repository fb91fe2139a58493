/* SPDX-License-Identifier: Apache-2.0 */
/* Spells metrics (see metrics_text.h). */

#include <inttypes.h>
#include <string.h>

#include "fs/metrics_text.h"

void metrics_family(struct text *text, const char *name, enum metrics_type type, const char *help)
{
	text_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
		    type == METRICS_COUNTER ? "counter" : "gauge");
}

void metrics_label_value(struct text *text, const char *s)
{
	text_add(text, "\"", 1);
	while (*s) {
		size_t len = text_utf8_len(s);

		if (len == 0)
			text_add(text, "\xef\xbf\xbd", 3);
		else if (*s == '\n')
			text_add(text, "\\n", 2);
		else if (*s == '"' || *s == '\\')
			text_printf(text, "\\%c", *s);
		else
			text_add(text, s, len);
		s += len ? len : 1;
	}
	text_add(text, "\"", 1);
}

void metrics_sample(struct text *text, const char *name, const char *label, const char *label_value,
		    uint64_t value)
{
	text_add(text, name, strlen(name));
	if (label) {
		text_printf(text, "{%s=", label);
		metrics_label_value(text, label_value);
		text_add(text, "}", 1);
	}
	text_printf(text, " %" PRIu64 "\n", value);
}
