/* SPDX-License-Identifier: Apache-2.0 */
/* A growing text, and JSON strings in it. Used where JSON is written by offset or in one go; what
 * is built as a tree uses json-c. */

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

void text_json_string(struct text *text, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t plain;

	text_add(text, "\"", 1);
	while (*p) {
		for (plain = 0; p[plain] >= 0x20 && p[plain] != '"' && p[plain] != '\\' &&
				p[plain] != 0x7f && p[plain] != 0xc0;
		     plain++)
			;
		text_add(text, (const char *)p, plain);
		p += plain;
		if (!*p)
			break;
		if (p[0] == 0xc0 && p[1] == 0x80) {
			text_add(text, "\\u0000", 6);
			p += 2;
			continue;
		}
		if (*p == '"' || *p == '\\')
			text_printf(text, "\\%c", *p);
		else
			text_printf(text, "\\u%04x", *p);
		p++;
	}
	text_add(text, "\"", 1);
}

void text_free(struct text *text)
{
	free(text->s);
	*text = (struct text){0};
}
