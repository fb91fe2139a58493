/* SPDX-License-Identifier: Apache-2.0 */
/* fs/metrics_text.c: Prometheus's escapes. */

#include <string.h>

#include "fs/metrics_text.h"
#include "tap.h"

static const struct {
	const char *name, *value, *want;
} rows[] = {
	{"plain", "model-00001.safetensors", "\"model-00001.safetensors\""},
	{"nothing", "", "\"\""},
	{"a quote", "a\"b", "\"a\\\"b\""},
	{"a backslash", "a\\nb", "\"a\\\\nb\""},
	{"a newline", "a\nb", "\"a\\nb\""},
	{"UTF-8 as it is", "gr\xc3\xb6\xc3\x9f", "\"gr\xc3\xb6\xc3\x9f\""},
	{"no UTF-8",
	 "a\xff"
	 "b\xc3",
	 "\"a\xef\xbf\xbd"
	 "b\xef\xbf\xbd\""},
	{"braces and commas are nothing special", "{a=\"1\",}", "\"{a=\\\"1\\\",}\""},
};

static bool is_text(struct text *text, const char *want)
{
	bool same = text->s && strcmp(text->s, want) == 0;

	if (!same)
		printf("# %s\n", text->s ? text->s : "(nothing)");
	text_free(text);
	return same;
}

int main(void)
{
	struct text text = {0};
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		metrics_label_value(&text, rows[i].value);
		ok(&tap, is_text(&text, rows[i].want), "a label: %s", rows[i].name);
	}
	metrics_family(&text, "x_total", METRICS_COUNTER, "Xs.");
	ok(&tap, is_text(&text, "# HELP x_total Xs.\n# TYPE x_total counter\n"), "a family");
	metrics_sample(&text, "x", NULL, NULL, UINT64_MAX);
	ok(&tap, is_text(&text, "x 18446744073709551615\n"), "a sample");
	metrics_sample(&text, "x", "shard", "a\"", 0);
	ok(&tap, is_text(&text, "x{shard=\"a\\\"\"} 0\n"), "a sample with a label");
	return tap_done(&tap);
}
