/* SPDX-License-Identifier: Apache-2.0 */
/* Formats progress. */

#include <stdio.h>
#include <string.h>

#include "loader/cli/progress.h"
#include "loader/cli/units.h"

#define RATE_SECONDS 2.0 /* a sample's weight falls by about a third in this time */

/* The bar gets what the longest text leaves, whatever the text is now, so that it never changes
 * size under way. */
enum { FIELDS = 5, TEXT_MAX = 64, BAR_MIN = 8, BAR_MAX = 40 };

void progress_sample(struct progress_rate *rate, const struct wload_progress *now)
{
	double past = now->seconds - rate->seconds, latest, span;

	if (past <= 0 || now->bytes_read < rate->bytes)
		return;
	latest = (double)(now->bytes_read - rate->bytes) / past;
	/* while the load is young, the mean of all of it */
	span = now->seconds < past + RATE_SECONDS ? now->seconds : past + RATE_SECONDS;
	rate->bytes_per_second += (latest - rate->bytes_per_second) * past / span;
	rate->seconds = now->seconds;
	rate->bytes = now->bytes_read;
}

/* 0 … 100; 100 only when everything was read. */
static unsigned int percent(const struct wload_progress *now)
{
	unsigned int done;

	if (now->bytes_read >= now->bytes_total)
		return 100;
	done = (unsigned int)((double)now->bytes_read * 100 / (double)now->bytes_total);
	return done < 100 ? done : 99;
}

static void make_fields(const struct wload_progress *now, double bytes_per_second,
			char fields[FIELDS][64])
{
	uint64_t left = now->bytes_read < now->bytes_total ? now->bytes_total - now->bytes_read : 0;
	char a[UNITS_MAX], b[UNITS_MAX];

	(void)snprintf(fields[0], sizeof(fields[0]), "%u%%", percent(now));
	units_bytes(now->bytes_read, a);
	units_bytes(now->bytes_total, b);
	(void)snprintf(fields[1], sizeof(fields[1]), "%s of %s", a, b);
	units_bytes(bytes_per_second > 0 && bytes_per_second < 1e18 ? (uint64_t)bytes_per_second
								    : 0,
		    a);
	(void)snprintf(fields[2], sizeof(fields[2]), "%s/s", a);
	units_bytes(now->host_bytes, a);
	(void)snprintf(fields[3], sizeof(fields[3]), "host %s", a);
	units_seconds(bytes_per_second > 0 ? (double)left / bytes_per_second : 0, a);
	if (left && !(bytes_per_second > 0))
		(void)snprintf(fields[4], sizeof(fields[4]), "stalled");
	else
		(void)snprintf(fields[4], sizeof(fields[4]), "%s left", a);
}

static size_t add_bar(unsigned int cells, unsigned int done, char *ret)
{
	unsigned int full = cells * done / 100;

	ret[0] = '[';
	memset(ret + 1, '=', full);
	memset(ret + 1 + full, ' ', cells - full);
	if (full && full < cells)
		ret[full] = '>';
	ret[1 + cells] = ']';
	return cells + 2;
}

void progress_bar(const struct wload_progress *now, double bytes_per_second, unsigned int width,
		  char ret[PROGRESS_MAX])
{
	size_t used = 0, room = width ? width - 1 : 0;
	char fields[FIELDS][64];

	if (room > PROGRESS_MAX - 1)
		room = PROGRESS_MAX - 1;
	make_fields(now, bytes_per_second, fields);
	ret[0] = '\0';
	if (room < 4)
		return;
	if (room >= TEXT_MAX + 3 + BAR_MIN) {
		size_t cells = room - TEXT_MAX - 3;

		used = add_bar(cells < BAR_MAX ? (unsigned int)cells : BAR_MAX, percent(now), ret);
		ret[used++] = ' ';
	}
	used += (size_t)snprintf(ret + used, PROGRESS_MAX - used, "%4s", fields[0]);
	for (int i = 1; i < FIELDS && used + 2 + strlen(fields[i]) <= room; i++)
		used += (size_t)snprintf(ret + used, PROGRESS_MAX - used, "  %s", fields[i]);
}

void progress_line(const struct wload_progress *now, double bytes_per_second,
		   char ret[PROGRESS_MAX])
{
	char fields[FIELDS][64];

	make_fields(now, bytes_per_second, fields);
	(void)snprintf(ret, PROGRESS_MAX, "%s, %s, %s, %s, %s", fields[0], fields[1], fields[2],
		       fields[3], fields[4]);
}
