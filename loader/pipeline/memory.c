/* SPDX-License-Identifier: Apache-2.0 */
/* Resident memory is one small file and looked at every 10 ms. Page cache is counted by the kernel
 * walking every shard's pages, which for a large checkpoint takes milliseconds: as often as keeps
 * it below a twentieth of the time. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/pagecache.h"
#include "loader/device/host_memory.h"
#include "loader/pipeline/memory.h"
#include "loader/pipeline/run.h"

#define LOOK_NS		 UINT64_C(10000000)
#define CACHE_LOOK_NS	 UINT64_C(50000000)
#define CACHE_COST_RATIO 20

struct memory {
	const struct wload_checkpoint *ckpt;
	uint64_t baseline_bytes;
	uint64_t *cached_before; /* of each shard that is watched */
	_Atomic uint8_t *watched;
	pthread_mutex_t watch_lock; /* held while one is begun to be */
	int daemon_pid;
	uint64_t start_ns;
	const _Atomic uint64_t *device_bytes;
	pthread_t thread;
	_Atomic uint64_t now, peak;

	/* the thread's, and memory_stop()'s after it */
	uint64_t added_cache, next_cache_ns;
	struct timeline *timeline;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop; /* under lock */
};

/* What the shards gained; one that lost pages takes nothing off another's gain. */
static uint64_t cache_added(const struct memory *memory)
{
	uint64_t sum = 0;

	for (uint32_t s = 0; s < wload_checkpoint_shard_count(memory->ckpt); s++) {
		const struct wload_shard *shard = wload_checkpoint_shard(memory->ckpt, s);
		uint64_t cached;

		if (!atomic_load(&memory->watched[s]))
			continue;
		(void)pagecache_bytes(shard->fd, 0, shard->bytes, &cached);
		if (cached > memory->cached_before[s])
			sum += cached - memory->cached_before[s];
	}
	return sum;
}

static void look(struct memory *memory, bool at_cache)
{
	/* what had arrived before its memory is looked at: none of that is counted late */
	struct wload_sample sample = {.device_bytes = atomic_load(memory->device_bytes)};
	struct memory_look seen = {.resident = host_memory_resident(0),
				   .baseline = memory->baseline_bytes};
	uint64_t sum, start = run_now_ns();

	if (at_cache || start >= memory->next_cache_ns) {
		uint64_t cost, pause;

		memory->added_cache = cache_added(memory);
		cost = run_now_ns() - start;
		pause = cost * CACHE_COST_RATIO;
		memory->next_cache_ns = start + (pause > CACHE_LOOK_NS ? pause : CACHE_LOOK_NS);
	}
	seen.cache = memory->added_cache;
	if (memory->daemon_pid > 0)
		seen.daemon = host_memory_resident(memory->daemon_pid);
	sum = memory_sum(&seen);
	atomic_store(&memory->now, sum);
	if (sum > atomic_load(&memory->peak))
		atomic_store(&memory->peak, sum);
	sample.host_bytes = sum;
	sample.seconds = (double)(start - memory->start_ns) / 1e9;
	timeline_add(memory->timeline, &sample);
}

/* Sleeps for a while; true when it is time to stop. */
static bool pause_for(struct memory *memory, uint64_t ns)
{
	uint64_t until = run_now_ns() + ns;
	struct timespec deadline = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
	LOCK_SCOPE(&memory->lock);

	while (!memory->stop)
		if (pthread_cond_timedwait(&memory->wake, &memory->lock, &deadline) == ETIMEDOUT)
			return false;
	return true;
}

static void *look_on(void *arg)
{
	struct memory *memory = arg;

	do
		look(memory, false);
	while (!pause_for(memory, LOOK_NS));
	return NULL;
}

static void memory_free(struct memory *memory)
{
	pthread_mutex_destroy(&memory->watch_lock);
	pthread_mutex_destroy(&memory->lock);
	pthread_cond_destroy(&memory->wake);
	free(memory->cached_before);
	free(memory->watched);
	free(memory);
}

static struct memory *memory_new(const struct wload_checkpoint *ckpt)
{
	uint32_t shards = wload_checkpoint_shard_count(ckpt);
	struct memory *memory = calloc(1, sizeof(*memory));
	pthread_condattr_t attr;

	if (!memory)
		return NULL;
	memory->ckpt = ckpt;
	memory->cached_before = calloc((size_t)shards + 1, sizeof(uint64_t));
	memory->watched = calloc((size_t)shards + 1, sizeof(*memory->watched));
	pthread_mutex_init(&memory->watch_lock, NULL);
	pthread_mutex_init(&memory->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&memory->wake, &attr);
	pthread_condattr_destroy(&attr);
	return memory;
}

void memory_watch(struct memory *memory, uint32_t shard)
{
	const struct wload_shard *s;

	if (!memory || atomic_load_explicit(&memory->watched[shard], memory_order_acquire))
		return;
	LOCK_SCOPE(&memory->watch_lock);

	if (atomic_load(&memory->watched[shard]))
		return;
	s = wload_checkpoint_shard(memory->ckpt, shard);
	(void)pagecache_bytes(s->fd, 0, s->bytes, &memory->cached_before[shard]);
	atomic_store_explicit(&memory->watched[shard], 1, memory_order_release);
}

int memory_start(const struct wload_checkpoint *ckpt, uint64_t baseline_bytes, int daemon_pid,
		 const _Atomic uint64_t *device_bytes, struct timeline *timeline,
		 struct memory **ret_memory, struct wload_error *err)
{
	struct memory *memory = memory_new(ckpt);
	int error;

	if (!memory || !memory->cached_before || !memory->watched) {
		if (memory)
			memory_free(memory);
		return wload_fail(err, ENOMEM, "no memory to watch the load's memory");
	}
	memory->baseline_bytes = baseline_bytes;
	memory->daemon_pid = daemon_pid;
	memory->device_bytes = device_bytes;
	memory->timeline = timeline;
	memory->start_ns = run_now_ns();
	error = pthread_create(&memory->thread, NULL, look_on, memory);
	if (error) {
		memory_free(memory);
		return wload_fail(err, error, "no thread to watch the load's memory");
	}
	*ret_memory = memory;
	return 0;
}

uint64_t memory_now(const struct memory *memory)
{
	return atomic_load(&memory->now);
}

uint64_t memory_peak(const struct memory *memory)
{
	return atomic_load(&memory->peak);
}

uint64_t memory_stop(struct memory *memory)
{
	uint64_t peak;

	if (!memory)
		return 0;
	pthread_mutex_lock(&memory->lock);
	memory->stop = true;
	pthread_cond_signal(&memory->wake);
	pthread_mutex_unlock(&memory->lock);
	pthread_join(memory->thread, NULL);
	look(memory, true);
	timeline_end(memory->timeline);
	peak = memory_peak(memory);
	memory_free(memory);
	return peak;
}
