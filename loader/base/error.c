/* SPDX-License-Identifier: Apache-2.0 */
/* The one function that fills a struct wload_error. Messages quote names from files, so control
 * bytes in the result are made visible as '?': a message is always one line. */

#include <stdarg.h>
#include <stdio.h>

#include "wloadfs/error.h"

int wload_fail(struct wload_error *err, int code, const char *fmt, ...)
{
	va_list args;
	unsigned char *p;

	if (!err)
		return -code;
	err->code = code;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	for (p = (unsigned char *)err->text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
	return -code;
}
