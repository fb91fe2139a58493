/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_JSON_TEXT_H
#define WLOAD_PLAN_JSON_TEXT_H

/* JSON text -> json-c's tree, for the two small texts that a plan reads. */

#include <json-c/json.h>
#include <stddef.h>

#include "loader/base/cleanup.h"
#include "wloadfs/error.h"

/* As its writer should have written it: RFC 8259, and no member twice, no NUL in a string. */
#define JSON_TEXT_STRICT 1
/* As json.load of Python reads it: NaN and Infinity pass; what json-c accepts beyond, does too. */
#define JSON_TEXT_TOLERANT 0

/* Parses one JSON object.
 *
 * what      names the text in messages
 * max       the most bytes it may have, below INT_MAX
 * ret_root  an object, to be freed with json_object_put()
 *
 * Returns 0, -EBADMSG when it is not a JSON object, -E2BIG over max, -ENOMEM. */
int json_text_parse(const char *text, size_t len, const char *what, size_t max, int strictness,
		    struct json_object **ret_root, struct wload_error *err);

static inline void cleanup_json(struct json_object **root)
{
	json_object_put(*root);
}

#define CLEANUP_JSON CLEANUP(cleanup_json)

#endif
