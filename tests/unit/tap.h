/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TAP_H
#define TAP_H

/* TAP for table-driven unit tests: ok() for each row, tap_done() as main's result. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct tap {
	int run;
	int failed;
};

__attribute__((format(printf, 3, 4))) static inline bool ok(struct tap *tap, bool pass,
							    const char *fmt, ...)
{
	va_list args;

	printf("%s %d - ", pass ? "ok" : "not ok", ++tap->run);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	tap->failed += !pass;
	return pass;
}

/* One test that could not be made here. */
static inline void tap_skip(struct tap *tap, const char *why)
{
	printf("ok %d # SKIP %s\n", ++tap->run, why);
}

static inline int tap_done(const struct tap *tap)
{
	printf("1..%d\n", tap->run);
	return tap->run == 0 || tap->failed ? 1 : 0;
}

#endif
