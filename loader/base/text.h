/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_TEXT_H
#define WLOAD_TEXT_H

/* A growing text: appends never fail in place, the first shortage of memory is remembered in
 * `failed` and everything after it is dropped, so that a writer checks once, at its end. */

#include <stdbool.h>
#include <stddef.h>

struct text {
	char *s; /* NUL-terminated once anything was appended; owned */
	size_t len;
	size_t cap;
	bool failed;
};

void text_add(struct text *text, const char *s, size_t len);
void text_printf(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends s (modified UTF-8, see tensor.h) as a JSON string, quotes included. */
void text_json_string(struct text *text, const char *s);

/* Appends s as XML character data, for an attribute's value too. What XML has no way to write
 * (control bytes, what is not UTF-8) becomes U+FFFD. */
void text_xml_string(struct text *text, const char *s);

/* The length of the UTF-8 sequence at s, 0 where there is none (RFC 3629: no overlong forms, no
 * surrogates, nothing over U+10FFFF). */
size_t text_utf8_len(const char *s);

/* Frees the text; for CLEANUP(). */
void text_free(struct text *text);

#endif
