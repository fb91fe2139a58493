/* SPDX-License-Identifier: Apache-2.0 */
/* Draws progress on stderr. A write that fails is nobody's loss: the load goes on. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "loader/cli/meter.h"

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS   5.0

void meter_start(struct meter *meter, bool quiet)
{
	const char *term = getenv("TERM");

	*meter = (struct meter){.mode = METER_OFF};
	if (quiet)
		return;
	if (isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0) {
		meter->mode = METER_BAR;
	} else {
		meter->mode = METER_LINES;
		meter->next_seconds = LINE_SECONDS;
	}
}

/* Asked every time: windows are resized. */
static unsigned int terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

static void show_line(const struct meter *meter)
{
	char line[PROGRESS_MAX];

	progress_line(&meter->last, meter->rate.bytes_per_second, line);
	(void)fprintf(stderr, "wload: %s\n", line);
}

void meter_show(struct meter *meter, const struct wload_progress *now)
{
	char line[PROGRESS_MAX];

	progress_sample(&meter->rate, now);
	meter->last = *now;
	meter->any = true;
	if (meter->mode == METER_OFF || now->seconds < meter->next_seconds)
		return;
	if (meter->mode == METER_LINES) {
		show_line(meter);
		meter->next_seconds = now->seconds + LINE_SECONDS;
		return;
	}
	progress_bar(now, meter->rate.bytes_per_second, terminal_width(), line);
	(void)fprintf(stderr, "\r%s\033[K", line);
	meter->next_seconds = now->seconds + REDRAW_SECONDS;
}

void meter_end(struct meter *meter)
{
	if (meter->mode == METER_BAR && meter->any)
		(void)fputs("\r\033[K", stderr);
	if (meter->mode == METER_LINES && meter->any)
		show_line(meter);
	meter->mode = METER_OFF;
}
