/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/pipeline/param_memory.h"

/* Pieces below this aren't tried: then the device is full, not fragmented. */
#define ARENA_MIN_BYTES ((uint64_t)1 << 30)

static uint64_t aligned(uint64_t bytes)
{
	return (bytes + PARAM_ALIGN_BYTES - 1) & ~(uint64_t)(PARAM_ALIGN_BYTES - 1);
}

/* Is a parameter freed in granules? */
static bool in_granules(const struct wload_plan *plan, enum param_release release, uint32_t param)
{
	const struct wload_param *p = wload_plan_param(plan, param);

	return release == PARAM_GRANULES && p->step_count == 0 && p->bytes >= PARAM_LARGE_BYTES;
}

static bool is_staged(const struct wload_plan *plan, uint32_t param)
{
	return wload_plan_param(plan, param)->step_count > 0;
}

static bool any_staged(const struct wload_plan *plan)
{
	for (uint32_t p = 0; p < wload_plan_count(plan); p++)
		if (is_staged(plan, p))
			return true;
	return false;
}

/* What a parameter counts once it is made. */
static uint64_t own_bytes(const struct wload_plan *plan, enum param_release release, uint32_t param)
{
	return in_granules(plan, release, param) ? 0
						 : aligned(wload_plan_param(plan, param)->bytes);
}

/* What one counts while its bytes arrive, beside what is there all the time. */
static uint64_t live_bytes(const struct wload_plan *plan, enum param_release release,
			   uint32_t param)
{
	if (is_staged(plan, param))
		return aligned(wload_plan_param(plan, param)->staged_bytes);
	return param_releases(release) ? own_bytes(plan, release, param) : 0;
}

/* The largest of all, or of those that have steps. */
static uint64_t largest_param(const struct wload_plan *plan, enum param_release release,
			      bool staged)
{
	uint64_t most = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++)
		if ((!staged || is_staged(plan, p)) && own_bytes(plan, release, p) > most)
			most = own_bytes(plan, release, p);
	return most;
}

static uint64_t sum_bytes(const struct wload_plan *plan, enum param_release release, bool staged)
{
	uint64_t sum = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++)
		if (!checked_add(sum, own_bytes(plan, release, p), &sum) ||
		    (staged && is_staged(plan, p) &&
		     !checked_add(sum, live_bytes(plan, release, p), &sum)))
			return UINT64_MAX;
	return sum;
}

uint64_t param_memory_all(const struct wload_plan *plan)
{
	return sum_bytes(plan, PARAM_KEPT, false);
}

int param_memory_fits(struct device *device, uint64_t bytes, uint64_t staging_bytes,
		      struct wload_error *err)
{
	uint64_t beside = 0, need, room, total;
	int r = device->ops->memory(device, &room, &total, err);

	if (r < 0)
		return r;
	if (device->ops->addressable)
		beside = staging_bytes + HOST_SLACK_BYTES + bytes / HOST_TABLE_RATIO;
	if (checked_add(bytes, beside, &need) && need <= room)
		return 0;
	return wload_fail(err, ENOMEM,
			  "the parameters take %" PRIu64
			  " bytes at once and the load itself %" PRIu64 ", and '%s' has %" PRIu64
			  " free of %" PRIu64,
			  bytes, beside, device->label, room, total);
}

/* Which parameters are there, along a walk. */
struct live {
	const struct wload_plan *plan;
	enum param_release release;
	size_t *last; /* per parameter: 1 + the last batch that has bytes of it; 0: not there */
	bool *there;
	uint64_t bytes, most;
};

static int live_find_last(struct live *live, const struct reads *reads)
{
	struct reads_batch batch CLEANUP(reads_batch_free) = {0};
	struct reads_walk walk = reads_walk(reads);
	size_t n = 0;
	int r;

	while ((r = reads_next(&walk, &batch)) > 0) {
		n++;
		for (size_t i = 0; i < batch.place_count; i++)
			live->last[batch.places[i].param] = n;
	}
	return r;
}

static void live_enter(struct live *live, const struct reads_batch *batch)
{
	for (size_t i = 0; i < batch->place_count; i++) {
		uint32_t p = batch->places[i].param;

		if (!live->there[p])
			live->bytes += live_bytes(live->plan, live->release, p);
		live->there[p] = true;
	}
	if (live->bytes > live->most)
		live->most = live->bytes;
}

/* n  1 for the first batch */
static void live_leave(struct live *live, const struct reads_batch *batch, size_t n)
{
	for (size_t i = 0; i < batch->place_count; i++) {
		uint32_t p = batch->places[i].param;

		if (live->last[p] != n)
			continue;
		live->bytes -= live_bytes(live->plan, live->release, p);
		live->last[p] = 0;
	}
}

/* Walks twice at once, the second time `ahead` + 1 batches behind. */
static int live_walk(struct live *live, const struct reads *reads, size_t ahead)
{
	struct reads_batch entering CLEANUP(reads_batch_free) = {0};
	struct reads_batch leaving CLEANUP(reads_batch_free) = {0};
	struct reads_walk front = reads_walk(reads), back = front;
	int r = live_find_last(live, reads);

	for (size_t n = 1; r >= 0 && (r = reads_next(&front, &entering)) > 0; n++) {
		if (n > ahead + 1) {
			r = reads_next(&back, &leaving);
			if (r > 0)
				live_leave(live, &leaving, n - ahead - 1);
		}
		live_enter(live, &entering);
	}
	return r;
}

int param_memory_live(const struct wload_plan *plan, const struct reads *reads, size_t ahead,
		      uint64_t backlog_bytes, enum param_release release, uint64_t *ret_bytes,
		      struct wload_error *err)
{
	size_t n = wload_plan_count(plan);
	CLEANUP_FREE size_t *last = calloc(n + 1, sizeof(*last));
	CLEANUP_FREE bool *there = calloc(n + 1, sizeof(*there));
	struct live live = {.plan = plan, .release = release, .last = last, .there = there};
	uint64_t all = sum_bytes(plan, release, true), sum, more;

	if (!param_releases(release) && !any_staged(plan)) {
		*ret_bytes = all;
		return 0;
	}
	if (!last || !there || live_walk(&live, reads, ahead) < 0)
		return wload_fail(err, ENOMEM, "no memory to follow %zu parameters", n);
	more = param_releases(release)
		       ? largest_param(plan, release, false) + largest_param(plan, release, true)
		       : param_memory_all(plan);
	if (!checked_add(live.most, backlog_bytes, &sum) || !checked_add(sum, more, &sum) ||
	    sum > all)
		sum = all;
	if (release == PARAM_GRANULES)
		sum += (ahead + 1) * (reads->batch_bytes + DEVICE_GRANULE_BYTES);
	*ret_bytes = sum;
	return 0;
}

uint32_t param_memory_layout(const struct wload_plan *plan, uint64_t cap, uint32_t *ret_arena,
			     uint64_t *ret_offset, uint64_t *ret_bytes)
{
	uint32_t arenas = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		uint64_t bytes = aligned(wload_plan_param(plan, p)->bytes);

		if (arenas == 0 || ret_bytes[arenas - 1] > cap ||
		    cap - ret_bytes[arenas - 1] < bytes)
			ret_bytes[arenas++] = 0;
		ret_arena[p] = arenas - 1;
		ret_offset[p] = ret_bytes[arenas - 1];
		ret_bytes[arenas - 1] += bytes;
	}
	return arenas;
}

static void free_arenas(struct param_memory *memory)
{
	for (size_t i = 0; i < memory->arena_count; i++)
		memory->device->ops->free(memory->device, memory->arenas[i].base,
					  memory->arenas[i].bytes, false);
	memory->arena_count = 0;
}

static int alloc_arenas(struct param_memory *memory, const uint64_t *bytes, uint32_t count,
			struct wload_error *err)
{
	for (uint32_t i = 0; i < count; i++) {
		void *base;
		int r;

		if (!grow_array(&memory->arenas, &memory->arena_cap, memory->arena_count + 1,
				sizeof(*memory->arenas)))
			return wload_fail(err, ENOMEM, "no memory for %" PRIu32 " arenas", count);
		r = memory->device->ops->alloc(memory->device, bytes[i], false, &base, err);
		if (r < 0)
			return r;
		memory->arenas[memory->arena_count++] = (struct param_arena){base, bytes[i]};
	}
	return 0;
}

/* Asks for everything in one piece, then in smaller ones. */
static int open_pooled(struct param_memory *memory, struct wload_error *err)
{
	size_t n = memory->count ? memory->count : 1;
	CLEANUP_FREE uint32_t *arena = calloc(n, sizeof(*arena));
	CLEANUP_FREE uint64_t *offset = calloc(n, sizeof(*offset));
	CLEANUP_FREE uint64_t *bytes = calloc(n, sizeof(*bytes));
	uint64_t cap = param_memory_all(memory->plan);
	int r;

	if (!arena || !offset || !bytes)
		return wload_fail(err, ENOMEM, "no memory to place %" PRIu32 " parameters",
				  memory->count);
	for (;;) {
		uint32_t arenas = param_memory_layout(memory->plan, cap, arena, offset, bytes);

		r = alloc_arenas(memory, bytes, arenas, err);
		if (r == 0)
			break;
		free_arenas(memory);
		cap /= 2;
		if (r != -ENOMEM || cap < ARENA_MIN_BYTES)
			return r;
	}
	for (uint32_t p = 0; p < memory->count; p++) {
		memory->bases[p] = device_at(memory->arenas[arena[p]].base, offset[p]);
		atomic_store(&memory->there[p], 1);
	}
	return 0;
}

static int open_apart(struct param_memory *memory, struct wload_error *err)
{
	for (uint32_t p = 0; p < memory->count; p++) {
		uint64_t param_bytes = wload_plan_param(memory->plan, p)->bytes;
		uint64_t bytes = param_bytes ? param_bytes : 1; /* empty ones have an address too */
		int r = memory->device->ops->alloc(memory->device, bytes, false, &memory->bases[p],
						   err);

		if (r < 0)
			return r;
		memory->sizes[p] = bytes;
		atomic_store(&memory->there[p], 1);
	}
	return 0;
}

int param_memory_open(struct param_memory *memory, struct device *device,
		      const struct wload_plan *plan, enum param_release release,
		      struct wload_error *err)
{
	size_t n = wload_plan_count(plan);

	*memory = (struct param_memory){.device = device,
					.plan = plan,
					.release = release,
					.count = (uint32_t)n,
					.lock = PTHREAD_MUTEX_INITIALIZER};
	memory->bases = calloc(n ? n : 1, sizeof(*memory->bases));
	memory->there = calloc(n ? n : 1, sizeof(*memory->there));
	memory->stagings = calloc(n ? n : 1, sizeof(*memory->stagings));
	memory->staged = calloc(n ? n : 1, sizeof(*memory->staged));
	if (release == PARAM_GRANULES)
		memory->arrived = calloc(n ? n : 1, sizeof(struct arrived *));
	if (release == PARAM_APART)
		memory->sizes = calloc(n ? n : 1, sizeof(*memory->sizes));
	if (!memory->bases || !memory->there || !memory->stagings || !memory->staged ||
	    (release == PARAM_GRANULES && !memory->arrived) ||
	    (release == PARAM_APART && !memory->sizes))
		return wload_fail(err, ENOMEM, "no memory for %zu parameters", n);
	if (release == PARAM_APART)
		return open_apart(memory, err);
	return release == PARAM_KEPT ? open_pooled(memory, err) : 0;
}

static int get_staging(struct param_memory *memory, uint32_t param, void **ret_base,
		       struct wload_error *err)
{
	if (!atomic_load_explicit(&memory->staged[param], memory_order_acquire)) {
		LOCK_SCOPE(&memory->lock);

		if (!atomic_load(&memory->staged[param])) {
			int r = memory->device->ops->alloc(
				memory->device, wload_plan_param(memory->plan, param)->staged_bytes,
				true, &memory->stagings[param], err);

			if (r < 0)
				return r;
			atomic_store_explicit(&memory->staged[param], 1, memory_order_release);
		}
	}
	*ret_base = memory->stagings[param];
	return 0;
}

int param_memory_get(struct param_memory *memory, uint32_t param, void **ret_base,
		     struct wload_error *err)
{
	return is_staged(memory->plan, param) ? get_staging(memory, param, ret_base, err)
					      : param_memory_own(memory, param, ret_base, err);
}

void param_memory_unstage(struct param_memory *memory, uint32_t param)
{
	if (!atomic_load(&memory->staged[param]))
		return;
	memory->device->ops->free(memory->device, memory->stagings[param],
				  wload_plan_param(memory->plan, param)->staged_bytes, true);
	memory->stagings[param] = NULL;
	atomic_store(&memory->staged[param], 0);
}

int param_memory_own(struct param_memory *memory, uint32_t param, void **ret_base,
		     struct wload_error *err)
{
	if (!atomic_load_explicit(&memory->there[param], memory_order_acquire)) {
		LOCK_SCOPE(&memory->lock);

		if (!atomic_load(&memory->there[param])) {
			int r = memory->device->ops->alloc(
				memory->device, wload_plan_param(memory->plan, param)->bytes, true,
				&memory->bases[param], err);

			if (r < 0)
				return r;
			/* Without the memory to remember by, it is freed as a whole. */
			if (in_granules(memory->plan, memory->release, param))
				memory->arrived[param] = calloc(1, sizeof(struct arrived));
			atomic_store_explicit(&memory->there[param], 1, memory_order_release);
		}
	}
	*ret_base = memory->bases[param];
	return 0;
}

void param_memory_arrived(struct param_memory *memory, uint32_t param, uint64_t offset,
			  uint64_t bytes)
{
	struct arrived_range done;

	if (!in_granules(memory->plan, memory->release, param))
		return;
	LOCK_SCOPE(&memory->lock);

	if (!memory->arrived[param])
		return;
	done = arrived_add(memory->arrived[param], (struct arrived_range){offset, offset + bytes},
			   DEVICE_GRANULE_BYTES);
	if (done.lo < done.hi)
		memory->device->ops->discard(memory->device, memory->bases[param], done.lo,
					     done.hi - done.lo);
}

bool param_memory_joined(const struct param_memory *memory, uint32_t a, uint32_t b)
{
	if (memory->release != PARAM_KEPT || b != a + 1 || is_staged(memory->plan, a) ||
	    is_staged(memory->plan, b))
		return false;
	for (size_t i = 0; i < memory->arena_count; i++)
		if (memory->arenas[i].base == memory->bases[b])
			return false;
	return true;
}

void param_memory_release(struct param_memory *memory, uint32_t param)
{
	if (!param_releases(memory->release) || !atomic_load(&memory->there[param]))
		return;
	memory->device->ops->free(memory->device, memory->bases[param],
				  wload_plan_param(memory->plan, param)->bytes, true);
	memory->bases[param] = NULL;
	if (memory->arrived) {
		free(memory->arrived[param]);
		memory->arrived[param] = NULL;
	}
	atomic_store(&memory->there[param], 0);
}

void param_memory_drop(struct param_memory *memory, uint32_t param)
{
	if (memory->release != PARAM_APART || !atomic_exchange(&memory->there[param], 0))
		return;
	memory->device->ops->free(memory->device, memory->bases[param], memory->sizes[param],
				  false);
}

void param_memory_unstage_all(struct param_memory *memory)
{
	for (uint32_t p = 0; memory->staged && memory->stagings && p < memory->count; p++)
		param_memory_unstage(memory, p);
	for (uint32_t p = 0; memory->there && memory->bases && p < memory->count; p++)
		param_memory_release(memory, p);
}

void param_memory_close(struct param_memory *memory)
{
	if (!memory->device)
		return;
	param_memory_unstage_all(memory);
	for (uint32_t p = 0; memory->there && memory->bases && p < memory->count; p++)
		param_memory_drop(memory, p);
	free_arenas(memory);
	free(memory->arenas);
	free(memory->bases);
	free(memory->there);
	free(memory->stagings);
	free(memory->staged);
	free(memory->arrived);
	free(memory->sizes);
	*memory = (struct param_memory){0};
}
