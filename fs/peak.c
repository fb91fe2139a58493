/* SPDX-License-Identifier: Apache-2.0 */
/* Counts the checkpoint's cached pages (see peak.h). */

#include <time.h>

#include "fs/evict.h"
#include "fs/ownfile.h"
#include "fs/peak.h"
#include "fs/residency.h"

#define INTERVAL_MIN_US 1000u
#define INTERVAL_COSTS	50u

/* Counted by mincore without being asked: it takes a step for every page of the file, cached or
 * not, and whoever unlinks would wait seconds for hundreds of gigabytes. */
#define MINCORE_BYTES_MAX (UINT64_C(4) << 30)

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int peak_count(struct wloadfs *fs, uint64_t *ret_bytes)
{
	uint64_t begun = clock_us(), sum = 0, before = atomic_load(&fs->peak.bytes), cost;
	int result = 0;

	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++) {
		const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, i);
		uint64_t bytes;
		int r = residency_bytes(&fs->features, shard->fd, 0, shard->bytes, &bytes);

		if (r < 0)
			result = r;
		sum += bytes;
	}
	while (before < sum && !atomic_compare_exchange_weak(&fs->peak.bytes, &before, sum))
		;
	cost = (clock_us() - begun) * INTERVAL_COSTS;
	atomic_store(&fs->peak.next_us,
		     clock_us() + (cost > INTERVAL_MIN_US ? cost : INTERVAL_MIN_US));
	*ret_bytes = sum;
	return result;
}

uint64_t peak_bytes(const struct wloadfs *fs)
{
	return atomic_load(&fs->peak.bytes);
}

void peak_sample(struct wloadfs *fs)
{
	uint64_t next = atomic_load(&fs->peak.next_us), bytes;

	if (!feature_on(&fs->features, FEATURE_CACHESTAT) &&
	    wload_inventory_bytes(fs->inv) > MINCORE_BYTES_MAX)
		return;
	/* One of those who come at a time counts. */
	if (clock_us() < next ||
	    !atomic_compare_exchange_strong(&fs->peak.next_us, &next, UINT64_MAX))
		return;
	(void)peak_count(fs, &bytes);
}

void peak_touch(struct wloadfs *fs)
{
	if (!atomic_load(&fs->peak.watched) && !atomic_exchange(&fs->peak.watched, true))
		evictor_wake(fs);
}

bool peak_is_watched(const struct wloadfs *fs)
{
	return atomic_load(&fs->peak.watched);
}

void peak_look(struct wloadfs *fs)
{
	if (!atomic_exchange(&fs->peak.watched, false))
		return;
	peak_sample(fs);
	/* What the kernel reads by passthrough, we do not see. */
	if (ownfile_any_passthrough(fs))
		atomic_store(&fs->peak.watched, true);
}
