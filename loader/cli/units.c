/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names, to and from what people read. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loader/base/checked.h"
#include "loader/cli/units.h"

static bool parse_digits(const char *s, uint64_t *ret, const char **ret_end)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno)
		return false;
	*ret = n;
	*ret_end = end;
	return true;
}

bool units_parse_number(const char *s, uint64_t *ret_number)
{
	const char *end;
	uint64_t n;

	if (!parse_digits(s, &n, &end) || *end)
		return false;
	*ret_number = n;
	return true;
}

bool units_parse_size(const char *s, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGT";
	const char *end, *suffix;
	uint64_t n;

	if (!parse_digits(s, &n, &end))
		return false;
	suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
	if (suffix) {
		if (!checked_mul(n, UINT64_C(1) << (10 * (suffix - suffixes + 1)), &n))
			return false;
		end++;
		if (!strcasecmp(end, "iB"))
			end += 2;
	}
	if (!strcasecmp(end, "B"))
		end++;
	if (*end)
		return false;
	*ret_bytes = n;
	return true;
}

bool units_parse_seconds(const char *s, uint64_t *ret_ms)
{
	uint64_t ms, scale = 100;
	const char *end;

	if (!parse_digits(s, &ms, &end) || !checked_mul(ms, 1000, &ms))
		return false;
	if (*end == '.' && !isdigit((unsigned char)end[1]))
		return false;
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end) && scale; end++, scale /= 10)
			if (!checked_add(ms, (uint64_t)(*end - '0') * scale, &ms))
				return false;
	if (*end)
		return false;
	*ret_ms = ms;
	return true;
}

void units_bytes(uint64_t bytes, char ret[UNITS_MAX])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double n = (double)bytes;
	size_t unit = 0;

	if (bytes < 1000) {
		(void)snprintf(ret, UNITS_MAX, "%u B", (unsigned int)bytes);
		return;
	}
	while (n >= 999.5) {
		n /= 1000;
		unit++;
	}
	(void)snprintf(ret, UNITS_MAX, "%.*f %s",
		       n < 9.995   ? 2
		       : n < 99.95 ? 1
				   : 0,
		       n, units[unit]);
}

void units_seconds(double seconds, char ret[UNITS_MAX])
{
	unsigned long whole;

	if (!(seconds > 0))
		seconds = 0;
	if (seconds < 0.09995) {
		(void)snprintf(ret, UNITS_MAX, "%.1f ms", seconds * 1e3);
		return;
	}
	if (seconds < 59.95) {
		(void)snprintf(ret, UNITS_MAX, "%.*f s", seconds < 9.995 ? 2 : 1, seconds);
		return;
	}
	if (seconds > 3.6e9) /* a million hours: no longer a time that anybody waits for */
		seconds = 3.6e9;
	whole = (unsigned long)(seconds + 0.5);
	if (whole < 3600)
		(void)snprintf(ret, UNITS_MAX, "%lu:%02lu", whole / 60, whole % 60);
	else
		(void)snprintf(ret, UNITS_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60,
			       whole % 60);
}

void units_name(struct text *text, const char *name)
{
	const unsigned char *p = (const unsigned char *)name;

	for (; *p; p++) {
		if (p[0] == 0xc0 && p[1] == 0x80) { /* a NUL, see tensor.h */
			text_add(text, "\\x00", 4);
			p++;
		} else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0) { /* U+0080 … U+009F */
			text_printf(text, "\\xc2\\x%02x", p[1]);
			p++;
		} else if (*p < 0x20 || *p == 0x7f) {
			text_printf(text, "\\x%02x", *p);
		} else {
			text_add(text, (const char *)p, 1);
		}
	}
}
