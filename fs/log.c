/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages go (log.h). The state is the process's, like the terminal: libfuse's log function
 * is given no place of its own. It changes before there are threads. */

#define FUSE_USE_VERSION 314
#include <fuse_log.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "fs/log.h"

static bool to_syslog;
static char collected[512];

void log_say(const char *text)
{
	if (to_syslog)
		syslog(LOG_DAEMON | LOG_WARNING, "%s", text);
	else
		(void)fprintf(stderr, "wloadfs: %s\n", text);
}

void log_to_syslog(void)
{
	to_syslog = true;
}

__attribute__((format(printf, 2, 0))) static void collect(enum fuse_log_level level,
							  const char *fmt, va_list args)
{
	size_t len = strlen(collected);

	(void)level;
	(void)vsnprintf(collected + len, sizeof(collected) - len, fmt, args);
	for (char *p = collected; (p = strchr(p, '\n'));)
		*p = p[1] ? ' ' : '\0';
}

__attribute__((format(printf, 2, 0))) static void say(enum fuse_log_level level, const char *fmt,
						      va_list args)
{
	char text[512];
	size_t len;

	(void)vsnprintf(text, sizeof(text), fmt, args);
	len = strlen(text);
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	if (level <= FUSE_LOG_WARNING)
		log_say(text);
}

__attribute__((format(printf, 2, 0))) static void print(enum fuse_log_level level, const char *fmt,
							va_list args)
{
	(void)level;
	(void)vfprintf(stderr, fmt, args);
}

void log_fuse_collect(void)
{
	collected[0] = '\0';
	fuse_set_log_func(collect);
}

const char *log_fuse_collected(void)
{
	return collected;
}

void log_fuse_say(int debug)
{
	fuse_set_log_func(debug ? print : say);
}
