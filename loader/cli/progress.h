/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_PROGRESS_H
#define WLOAD_CLI_PROGRESS_H

/* How far a load is, in one line of text. Pure; meter.c puts it on the terminal. */

#include "wloadfs/loader.h"

/* The rate of the last seconds, which is what the time left goes by. */
struct progress_rate {
	double seconds; /* of the last sample */
	uint64_t bytes;
	double bytes_per_second;
};

/* Takes a sample, about ten times a second. */
void progress_sample(struct progress_rate *rate, const struct wload_progress *now);

#define PROGRESS_MAX 512

/* "[=====>    ]  45%  12.3 GB of 27.4 GB  7.81 GB/s  host 1.20 GB  0:42 left", shorter than width
 * columns so that no terminal wraps it; fields are left out from the right where it is narrow. */
void progress_bar(const struct wload_progress *now, double bytes_per_second, unsigned int width,
		  char ret[PROGRESS_MAX]);

/* The same without the bar, for a log: "45%, 12.3 GB of 27.4 GB, 7.81 GB/s, host 1.20 GB, 0:42
 * left". */
void progress_line(const struct wload_progress *now, double bytes_per_second,
		   char ret[PROGRESS_MAX]);

#endif
