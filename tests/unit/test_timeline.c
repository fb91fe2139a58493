/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/timeline: loads of any length fit, and what matters of them stays. */

#include <string.h>

#include "loader/pipeline/timeline.h"
#include "tap.h"

static const struct {
	const char *name;
	uint64_t looks;
	uint64_t peak_at; /* the look with the most host memory */
	uint32_t least, most;
} rows[] = {
	{"none", 0, 0, 0, 0},
	{"one", 1, 0, 1, 1},
	{"two", 2, 1, 2, 2},
	{"as many as there is room for", TIMELINE_SAMPLES, 100, TIMELINE_SAMPLES, TIMELINE_SAMPLES},
	{"the first that makes it halve", TIMELINE_SAMPLES + 1, 511, 257, 258},
	{"one behind it", TIMELINE_SAMPLES + 2, TIMELINE_SAMPLES + 1, 258, 259},
	{"a minute", 6000, 1, 256, TIMELINE_SAMPLES + 3},
	{"the peak last", 6001, 6000, 256, TIMELINE_SAMPLES + 3},
	{"the peak waits for its neighbours", 6007, 6003, 256, TIMELINE_SAMPLES + 3},
	{"a day", 8640000, 1234567, 256, TIMELINE_SAMPLES + 3},
};

static struct wload_sample look_of(uint64_t i, uint64_t peak_at)
{
	return (struct wload_sample){.seconds = (double)i / 100,
				     .host_bytes = i == peak_at ? 1000000 : 100 + i % 7,
				     .device_bytes = i * 1000};
}

static bool in_order(const struct timeline *t)
{
	for (uint32_t i = 1; i < t->count; i++)
		if (t->samples[i].seconds <= t->samples[i - 1].seconds ||
		    t->samples[i].device_bytes < t->samples[i - 1].device_bytes)
			return false;
	return true;
}

static bool has(const struct timeline *t, const struct wload_sample *look)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->samples[i].seconds == look->seconds &&
		    t->samples[i].host_bytes == look->host_bytes &&
		    t->samples[i].device_bytes == look->device_bytes)
			return true;
	return false;
}

/* The widest gap between two is at most three times what even spreading would give. */
static bool is_even(const struct timeline *t)
{
	double even = t->count > 1 ? t->samples[t->count - 1].seconds / (t->count - 1) : 0;

	for (uint32_t i = 1; i < t->count; i++)
		if (t->samples[i].seconds - t->samples[i - 1].seconds > 3 * even + 1e-9)
			return false;
	return true;
}

int main(void)
{
	static struct timeline timeline;
	struct tap tap = {0};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		struct wload_sample first = look_of(0, rows[r].peak_at),
				    peak = look_of(rows[r].peak_at, rows[r].peak_at),
				    last = look_of(rows[r].looks - 1, rows[r].peak_at);

		memset(&timeline, 0, sizeof(timeline));
		for (uint64_t i = 0; i < rows[r].looks; i++) {
			struct wload_sample look = look_of(i, rows[r].peak_at);

			timeline_add(&timeline, &look);
		}
		timeline_end(&timeline);
		ok(&tap, timeline.count >= rows[r].least && timeline.count <= rows[r].most,
		   "%s: %u samples", rows[r].name, timeline.count);
		if (rows[r].looks == 0)
			continue;
		ok(&tap, has(&timeline, &first) && has(&timeline, &peak) && has(&timeline, &last),
		   "%s: the first, the highest and the last look are kept", rows[r].name);
		ok(&tap, in_order(&timeline) && is_even(&timeline), "%s: in order, evenly spread",
		   rows[r].name);
	}
	return tap_done(&tap);
}
