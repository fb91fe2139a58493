/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_JSON_MEMBER_H
#define WLOAD_CHECKPOINT_JSON_MEMBER_H

/* Members of JSON objects by name, those that are wanted, on the reader; others are passed over. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/checkpoint/json_reader.h"

/* A member that is wanted: exactly one of the two is set. */
struct json_member {
	const char *name;
	char **string;	  /* allocated, given away; left as it is where the value is null */
	uint64_t *number; /* left as it is where the value is null, below 0 or not whole */
};

/* Is that the name which was read last? */
bool json_is_named(const struct json_reader *r, const char *name);

/* Takes the value behind a name, when it is one of those wanted, else passes over it.
 *
 * Returns 0, -EBADMSG when it is broken or of the wrong kind, -ENOMEM. */
int json_take_member(struct json_reader *r, const struct json_member *members, size_t count);

/* Takes an object's members, its '{' already taken. Returns as json_take_member(). */
int json_take_members(struct json_reader *r, const struct json_member *members, size_t count);

/* Takes a text that is one object. Returns as json_take_member(). */
int json_take_object(struct json_reader *r, const struct json_member *members, size_t count);

/* Says what is wrong with a text, in the reader's words where it is the JSON itself.
 *
 * code  -ENOMEM, or what stopped the taking
 * what  "the mount's stats.json"
 *
 * Returns -ENOMEM or -EBADMSG. */
int json_take_failed(const struct json_reader *r, int code, const char *what,
		     struct wload_error *err);

#endif
