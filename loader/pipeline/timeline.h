/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_TIMELINE_H
#define WLOAD_TIMELINE_H

/* A load's samples (wloadfs/loader.h), as many as there is room for whatever its length. Pure.
 *
 * Every look becomes a sample until there is no room; then of each two neighbours the one with more
 * host memory stays, and from then on of each two looks, of each four, … likewise. So the samples
 * stay evenly spread, and no peak is lost. The first and the last look stay as they were. */

#include <stddef.h>

#include "wloadfs/loader.h"

#define TIMELINE_SAMPLES 512 /* those between the first and the last; even */

struct timeline {
	struct wload_sample samples[TIMELINE_SAMPLES + 3];
	uint32_t count;

	/* private */
	uint64_t stride; /* looks that become one sample; 0: one */
	uint64_t taken;	 /* of the next sample, so far */
	struct wload_sample highest, last;
};

/* Takes a look; one after the other in time. */
void timeline_add(struct timeline *timeline, const struct wload_sample *look);

/* No more come: what waits for its neighbours becomes a sample too, and the last look does. */
void timeline_end(struct timeline *timeline);

#endif
