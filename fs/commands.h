/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_COMMANDS_H
#define WLOADFS_COMMANDS_H

/* The grammar of .wload/consume, one command a line, names spelled as in tensors/:
 *
 *   prefix P      every tensor under P + "."; P is not empty
 *   key NAME      one tensor
 *   loaded NAME   the same, of one that the client has read past the mount
 *   all           every tensor
 *   restore       brings every tensor back
 *   restore P     those under P + "."
 *
 * Pure: a line in, a command out. */

#include <stddef.h>

enum command_verb { COMMAND_PREFIX, COMMAND_KEY, COMMAND_LOADED, COMMAND_ALL, COMMAND_RESTORE };

struct command {
	enum command_verb verb;
	const char *argument; /* in the line, not terminated; NULL when there is none */
	size_t argument_len;
};

/* Parses one line, without its newline. Returns 0, or -EINVAL. */
int command_parse(const char *line, size_t len, struct command *ret);

#endif
