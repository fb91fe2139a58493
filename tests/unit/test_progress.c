/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/progress: the bar at every width, and the rate that the time left goes by. */

#include <string.h>

#include "loader/cli/progress.h"
#include "tap.h"

#define GB UINT64_C(1000000000)

static const struct {
	const char *name;
	struct wload_progress now;
	double rate;
	unsigned int width;
	const char *want;
} bars[] = {
	{"half",
	 {.bytes_total = 20 * GB, .bytes_read = 10 * GB, .host_bytes = GB},
	 2e9,
	 80,
	 "[=====>      ]  50%  10.0 GB of 20.0 GB  2.00 GB/s  host 1.00 GB  5.00 s left"},
	{"nothing yet",
	 {.bytes_total = 20 * GB},
	 0,
	 80,
	 "[            ]   0%  0 B of 20.0 GB  0 B/s  host 0 B  stalled"},
	{"all", {.bytes_total = GB, .bytes_read = GB}, 1e9, 80, NULL},
	{"nothing to read", {0}, 0, 80, NULL},
	{"nearly all is not 100 %",
	 {.bytes_total = 1000 * GB, .bytes_read = 1000 * GB - 1},
	 1e9,
	 8,
	 " 99%"},
	{"no room for the bar",
	 {.bytes_total = 20 * GB, .bytes_read = 10 * GB},
	 2e9,
	 40,
	 " 50%  10.0 GB of 20.0 GB  2.00 GB/s"},
	{"no room for anything", {.bytes_total = 1}, 0, 4, ""},
	{"no width", {.bytes_total = 1}, 0, 0, ""},
};

static const struct {
	const char *name;
	struct wload_progress samples[4];
	int count;
	double min, max;
} rates[] = {
	{"one sample is its mean", {{.bytes_read = GB, .seconds = 0.5}}, 1, 1.9e9, 2.1e9},
	{"a steady rate stays",
	 {{.bytes_read = GB, .seconds = 1}, {.bytes_read = 2 * GB, .seconds = 2}},
	 2,
	 0.99e9,
	 1.01e9},
	{"a young load's is the mean of all",
	 {{.bytes_read = 0, .seconds = 0.001}, {.bytes_read = GB, .seconds = 1}},
	 2,
	 0.99e9,
	 1.01e9},
	{"a stall pulls it down, not to nothing",
	 {{.bytes_read = 10 * GB, .seconds = 10}, {.bytes_read = 10 * GB, .seconds = 11}},
	 2,
	 0.6e9,
	 0.7e9},
	{"time that stands still is no sample",
	 {{.bytes_read = GB, .seconds = 1}, {.bytes_read = 9 * GB, .seconds = 1}},
	 2,
	 0.99e9,
	 1.01e9},
};

static void check_widths(struct tap *tap)
{
	struct wload_progress now = {.bytes_total = 123 * GB, .bytes_read = 45 * GB};
	bool fits = true;
	char got[PROGRESS_MAX];

	for (unsigned int width = 0; width < 2000; width++) {
		progress_bar(&now, 1.5e9, width, got);
		fits = fits && (strlen(got) < width || !*got);
	}
	ok(tap, fits, "bar: shorter than the terminal at every width");
}

int main(void)
{
	struct wload_progress half = {.bytes_total = 20 * GB, .bytes_read = 10 * GB};
	struct tap tap = {0};
	char got[PROGRESS_MAX];

	for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
		progress_bar(&bars[i].now, bars[i].rate, bars[i].width, got);
		ok(&tap, bars[i].want ? !strcmp(got, bars[i].want) : strstr(got, "100%") != NULL,
		   "bar: %s: '%s'", bars[i].name, got);
	}
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct progress_rate rate = {0};

		for (int s = 0; s < rates[i].count; s++)
			progress_sample(&rate, &rates[i].samples[s]);
		ok(&tap,
		   rate.bytes_per_second >= rates[i].min && rate.bytes_per_second <= rates[i].max,
		   "rate: %s: %g", rates[i].name, rate.bytes_per_second);
	}
	check_widths(&tap);
	progress_line(&half, 2e9, got);
	ok(&tap, !strcmp(got, "50%, 10.0 GB of 20.0 GB, 2.00 GB/s, host 0 B, 5.00 s left"),
	   "line: '%s'", got);
	return tap_done(&tap);
}
