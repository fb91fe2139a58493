/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the lines of .wload/consume (grammar in commands.h). */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "fs/commands.h"

enum argument { ARGUMENT_NONE, ARGUMENT_OPTIONAL, ARGUMENT_NEEDED };

static const struct {
	const char *word;
	enum command_verb verb;
	enum argument argument;
} verbs[] = {
	{"prefix", COMMAND_PREFIX, ARGUMENT_NEEDED},	 {"key", COMMAND_KEY, ARGUMENT_NEEDED},
	{"loaded", COMMAND_LOADED, ARGUMENT_NEEDED},	 {"all", COMMAND_ALL, ARGUMENT_NONE},
	{"restore", COMMAND_RESTORE, ARGUMENT_OPTIONAL},
};

int command_parse(const char *line, size_t len, struct command *ret)
{
	const char *space = memchr(line, ' ', len);
	size_t word_len = space ? (size_t)(space - line) : len;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		enum argument wants = verbs[i].argument;

		if (strlen(verbs[i].word) != word_len || memcmp(verbs[i].word, line, word_len) != 0)
			continue;
		if (space ? wants == ARGUMENT_NONE || word_len + 1 == len
			  : wants == ARGUMENT_NEEDED)
			return -EINVAL;
		ret->verb = verbs[i].verb;
		ret->argument = space ? space + 1 : NULL;
		ret->argument_len = space ? len - word_len - 1 : 0;
		return 0;
	}
	return -EINVAL;
}
