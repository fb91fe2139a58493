/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include "loader/base/octal.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

void octal_decode(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && is_octal(s[2]) &&
		    is_octal(s[3])) {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}
