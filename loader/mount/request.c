/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for a mount and its answers, as text. Pure; mount.c writes and reads it. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/mount/request.h"

bool request_add(struct request *request, const char *verb, const char *argument)
{
	size_t len = strlen(verb) + (argument ? 1 + strlen(argument) : 0) + 1;

	if (request->text.len + len > REQUEST_MAX)
		return false;
	if (argument)
		text_printf(&request->text, "%s %s\n", verb, argument);
	else
		text_printf(&request->text, "%s\n", verb);
	request->lines++;
	return true;
}

void request_clear(struct request *request)
{
	request->text.len = 0;
	request->lines = 0;
}

void request_free(struct request *request)
{
	text_free(&request->text);
}

void request_spell_prefix(const char *prefix, struct text *ret)
{
	const unsigned char *p = (const unsigned char *)prefix;
	bool dots = !strcmp(prefix, ".") || !strcmp(prefix, "..");

	for (; *p; p++) {
		if (p[0] == 0xc0 && p[1] == 0x80) {
			text_add(ret, "%00", 3);
			p++;
		} else if (*p < 0x20 || *p == 0x7f || *p == '%' || *p == '/' || dots) {
			text_printf(ret, "%%%02X", *p);
		} else {
			text_add(ret, (const char *)p, 1);
		}
	}
}

bool request_count_answer(const char *answer, uint64_t lines, bool *ret_changed, uint64_t *count)
{
	uint64_t sum = *count;

	for (; lines; lines--) {
		unsigned long long n;
		char *end;

		if (*answer < '0' || *answer > '9')
			return false;
		errno = 0;
		n = strtoull(answer, &end, 10);
		if (errno || *end != '\n' || !checked_add(sum, n, &sum))
			return false;
		if (ret_changed)
			*ret_changed++ = n != 0;
		answer = end + 1;
	}
	if (*answer)
		return false;
	*count = sum;
	return true;
}
