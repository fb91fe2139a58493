/* SPDX-License-Identifier: Apache-2.0 */
/* A growing text, and JSON and XML strings in it. Used where JSON is written by offset or in one
 * go; what is built as a tree uses json-c. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/text.h"

static bool make_room(struct text *text, size_t more)
{
	if (!text->failed && !grow_array(&text->s, &text->cap, text->len + more + 1, 1))
		text->failed = true;
	return !text->failed;
}

void text_add(struct text *text, const char *s, size_t len)
{
	if (!make_room(text, len))
		return;
	memcpy(text->s + text->len, s, len);
	text->len += len;
	text->s[text->len] = '\0';
}

void text_printf(struct text *text, const char *fmt, ...)
{
	va_list args, again;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len >= 0 && make_room(text, (size_t)len)) {
		(void)vsnprintf(text->s + text->len, (size_t)len + 1, fmt, again);
		text->len += (size_t)len;
	}
	va_end(again);
}

size_t text_utf8_len(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t len = p[0] < 0x80   ? 1
		     : p[0] < 0xc2 ? 0
		     : p[0] < 0xe0 ? 2
		     : p[0] < 0xf0 ? 3
		     : p[0] < 0xf5 ? 4
				   : 0;

	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	for (size_t i = 1; i < len; i++, lo = 0x80, hi = 0xbf)
		if (p[i] < lo || p[i] > hi)
			return 0;
	return len;
}

/* Bytes at p that stand for themselves in a JSON string. */
static size_t plain_len(const unsigned char *p)
{
	size_t len = 0, n;

	while (p[len] >= 0x20 && p[len] != '"' && p[len] != '\\' && p[len] != 0x7f &&
	       (n = text_utf8_len((const char *)p + len)))
		len += n;
	return len;
}

void text_json_string(struct text *text, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	text_add(text, "\"", 1);
	for (;;) {
		size_t plain = plain_len(p);

		text_add(text, (const char *)p, plain);
		p += plain;
		if (!*p)
			break;
		if (p[0] == 0xc0 && p[1] == 0x80) {
			text_add(text, "\\u0000", 6);
			p++;
		} else if (*p >= 0x80) {
			text_add(text, "\\ufffd", 6); /* a path need not be UTF-8, JSON must */
		} else if (*p == '"' || *p == '\\') {
			text_printf(text, "\\%c", *p);
		} else {
			text_printf(text, "\\u%04x", *p);
		}
		p++;
	}
	text_add(text, "\"", 1);
}

/* Bytes at p that stand for themselves in XML (XML 1.0, 2.2 Characters: not U+FFFE and U+FFFF). */
static size_t plain_xml_len(const unsigned char *p)
{
	size_t len = 0, n;

	while (p[len] >= 0x20 && !strchr("<>&\"'\x7f", p[len]) &&
	       (n = text_utf8_len((const char *)p + len)) &&
	       !(n == 3 && p[len] == 0xef && p[len + 1] == 0xbf && p[len + 2] >= 0xbe))
		len += n;
	return len;
}

void text_xml_string(struct text *text, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	for (;;) {
		size_t plain = plain_xml_len(p);

		text_add(text, (const char *)p, plain);
		p += plain;
		if (!*p)
			return;
		if (strchr("<>&\"'", *p))
			text_printf(text, "&#%u;", *p);
		else
			text_add(text, "\xef\xbf\xbd", 3);
		p++;
	}
}

void text_free(struct text *text)
{
	free(text->s);
	*text = (struct text){0};
}
