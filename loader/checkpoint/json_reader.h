/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_JSON_READER_H
#define WLOAD_CHECKPOINT_JSON_READER_H

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

/* serde_json's recursion limit: the 128th open array or object is refused. */
#define JSON_DEPTH_LIMIT 128

enum json_token {
	JSON_BAD, /* broken, or out of memory: json_fail() says what; stays so */
	JSON_OBJECT,
	JSON_OBJECT_END,
	JSON_ARRAY,
	JSON_ARRAY_END,
	JSON_NAME,   /* a member's name, in string */
	JSON_STRING, /* in string */
	JSON_UINT,   /* digits alone, and it fits 64 bits: in uint */
	JSON_NUMBER, /* any other number; its value is not kept */
	JSON_BOOL,
	JSON_NULL,
	JSON_END, /* of the text, after one whole value */
};

struct json_scratch {
	char *bytes;
	size_t cap, len;
};

struct json_reader {
	/* the last token's */
	const char *string; /* modified UTF-8, no NUL behind it; a JSON_NAME's stays until the next
			     * JSON_NAME, a JSON_STRING's until the next JSON_STRING */
	size_t string_len;
	uint64_t uint;

	/* private */
	const uint8_t *text;
	size_t len, at;
	int state;
	unsigned int depth;
	uint8_t is_object[JSON_DEPTH_LIMIT];
	struct json_scratch names, strings; /* of strings that held an escape */
	int code;			    /* positive errno once it failed */
	const char *reason;
	size_t reason_at; /* byte of the text */
};

/* Starts reading text, which is borrowed until json_finish(). */
void json_start(struct json_reader *r, const uint8_t *text, size_t len);

void json_finish(struct json_reader *r);

/* Reads the next token. */
enum json_token json_next(struct json_reader *r);

/* Reads past the value that comes next, checking it.
 *
 * Returns its first token, or JSON_BAD. Where no value can come, that token. */
enum json_token json_skip(struct json_reader *r);

/* After JSON_BAD: "invalid JSON at byte 57: trailing comma".
 *
 * Returns -EBADMSG, or -ENOMEM. */
int json_fail(const struct json_reader *r, struct wload_error *err);

#endif
