/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/pipeline/timeline.h"

static const struct wload_sample *higher(const struct wload_sample *a, const struct wload_sample *b)
{
	return b->host_bytes > a->host_bytes ? b : a;
}

/* Of each two samples behind the first one stays. */
static void halve(struct timeline *timeline)
{
	struct wload_sample *s = timeline->samples;
	uint32_t kept = 1;

	for (uint32_t i = 1; i + 1 < timeline->count; i += 2)
		s[kept++] = *higher(&s[i], &s[i + 1]);
	timeline->count = kept;
	timeline->stride *= 2;
}

static void keep(struct timeline *timeline, const struct wload_sample *sample)
{
	timeline->samples[timeline->count++] = *sample;
}

void timeline_add(struct timeline *timeline, const struct wload_sample *look)
{
	timeline->last = *look;
	if (timeline->count == 0) {
		timeline->stride = 1;
		keep(timeline, look);
		return;
	}
	timeline->highest = timeline->taken ? *higher(&timeline->highest, look) : *look;
	if (++timeline->taken < timeline->stride)
		return;
	keep(timeline, &timeline->highest);
	timeline->taken = 0;
	if (timeline->count == TIMELINE_SAMPLES + 1)
		halve(timeline);
}

void timeline_end(struct timeline *timeline)
{
	const struct wload_sample *s = timeline->samples;

	if (timeline->taken)
		keep(timeline, &timeline->highest);
	timeline->taken = 0;
	if (timeline->count && s[timeline->count - 1].seconds < timeline->last.seconds)
		keep(timeline, &timeline->last);
}
