/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/stats_text: JSON as lines. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/stats_text.h"
#include "tap.h"

static const struct {
	const char *name, *json, *want; /* want NULL: refused */
} rows[] = {
	{"numbers", "{\"pid\": 7, \"opens\": 0}", "pid: 7\nopens: 0\n"},
	{"bytes", "{\"consumed_bytes\": 15400000000, \"bytes\": 999}",
	 "consumed bytes: 15400000000 (15.4 GB)\nbytes: 999\n"},
	{"a number after bytes is only a number", "{\"x_bytes\": 1000, \"n\": 1000}",
	 "x bytes: 1000 (1.00 kB)\nn: 1000\n"},
	{"fractions and signs", "{\"a\":-1,\"b\":0.25,\"c\":1e-3}", "a: -1\nb: 0.25\nc: 1e-3\n"},
	{"words", "{\"on\":true,\"off\":false,\"none\":null}", "on: yes\noff: no\nnone: -\n"},
	{"strings are made safe", "{\"path\": \"/a b\\u001b[2J\"}", "path: /a b\\x1b[2J\n"},
	{"members of members", "{\"reads\": {\"count\": 3, \"more\": {\"x\": 1}}, \"y\": 2}",
	 "reads:\n  count: 3\n  more:\n    x: 1\ny: 2\n"},
	{"lists", "{\"l\": [1, \"b\"], \"y\": 2}", "l:\n  - 1\n  - b\ny: 2\n"},
	{"lists of objects", "{\"l\": [{\"a\": 1}]}", "l:\n  -\n    a: 1\n"},
	{"an empty object", "{}", ""},
	{"broken", "{\"a\": ", NULL},
	{"two values", "{} {}", NULL},
};

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text text CLEANUP(text_free) = {0};
		int r = stats_text(rows[i].json, &text, NULL);

		ok(&tap,
		   rows[i].want ? r == 0 && !strcmp(text.s ? text.s : "", rows[i].want) : r < 0,
		   "stats: %s", rows[i].name);
		if (rows[i].want && text.s && strcmp(text.s, rows[i].want) != 0)
			printf("# %s\n", text.s);
	}
	return tap_done(&tap);
}
