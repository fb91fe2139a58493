/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and names as people read them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/cli/units.h"

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
