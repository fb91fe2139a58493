/* SPDX-License-Identifier: Apache-2.0 */
/* fs/commands.c: the grammar of .wload/consume. */

#include <string.h>

#include "fs/commands.h"
#include "tap.h"

static const struct {
	const char *line;
	int want; /* a verb, or -1 */
	const char *argument;
} rows[] = {
	{"all", COMMAND_ALL, NULL},
	{"prefix model.layers.0", COMMAND_PREFIX, "model.layers.0"},
	{"key lm_head.weight", COMMAND_KEY, "lm_head.weight"},
	{"loaded lm_head.weight", COMMAND_LOADED, "lm_head.weight"},
	{"key with space ", COMMAND_KEY, "with space "},
	{"restore", COMMAND_RESTORE, NULL},
	{"restore model", COMMAND_RESTORE, "model"},
	{"", -1, NULL},
	{" all", -1, NULL},
	{"all ", -1, NULL},
	{"all x", -1, NULL},
	{"prefix", -1, NULL},
	{"prefix ", -1, NULL},
	{"key", -1, NULL},
	{"key ", -1, NULL},
	{"loaded", -1, NULL},
	{"loaded ", -1, NULL},
	{"restore ", -1, NULL},
	{"ALL", -1, NULL},
	{"allx", -1, NULL},
	{"prefixes a", -1, NULL},
	{"all\r", -1, NULL},
};

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct command c = {0};
		int r = command_parse(rows[i].line, strlen(rows[i].line), &c);
		bool same = rows[i].want < 0 ? r < 0 : r == 0 && (int)c.verb == rows[i].want;

		if (same && r == 0)
			same = rows[i].argument ? c.argument_len == strlen(rows[i].argument) &&
							  memcmp(c.argument, rows[i].argument,
								 c.argument_len) == 0
						: !c.argument;
		ok(&tap, same, "'%s' is %s", rows[i].line, rows[i].want < 0 ? "refused" : "taken");
	}
	return tap_done(&tap);
}
