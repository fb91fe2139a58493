/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PARAM_MEMORY_H
#define WLOAD_PARAM_MEMORY_H

/* The device memory of all parameters.
 *
 * Pooled, a load asks the device once: parameters lie one behind the other, 256-byte aligned, in
 * the plan's order. A device that refuses that much in one piece is asked for half as much a piece,
 * and so on. Kept apart, it is asked for each parameter, so that one can go before the others. With
 * release each parameter has memory of its own, from when its first byte is to be placed until it
 * is complete; a module is freed parameter by parameter. Where nobody looks at a complete one, and
 * the device can, a large one is freed granule by granule while it arrives.
 *
 * One that has steps is placed in a staging area, which is there from its first byte until its
 * steps were run; with release it has its own memory from then on only. */

#include <pthread.h>
#include <stdatomic.h>

#include "loader/device/device.h"
#include "loader/pipeline/arrived.h"
#include "loader/pipeline/reads.h"

#define PARAM_ALIGN_BYTES 256

/* From here on a parameter is freed in granules. */
#define PARAM_LARGE_BYTES (2 * DEVICE_GRANULE_BYTES)

/* When parameters are freed. */
enum param_release {
	PARAM_KEPT,
	PARAM_WHOLE,	/* each once it was seen to */
	PARAM_GRANULES, /* the same, and large ones while they arrive; the device has discard() */
	PARAM_APART,	/* kept too, each in memory of its own */
};

static inline bool param_releases(enum param_release release)
{
	return release == PARAM_WHOLE || release == PARAM_GRANULES;
}

struct param_arena {
	void *base;
	uint64_t bytes;
};

struct param_memory {
	struct device *device; /* borrowed */
	const struct wload_plan *plan;
	enum param_release release;
	uint32_t count;
	void **bases;		/* of each parameter; with release under lock until it is there */
	_Atomic uint8_t *there; /* bases[i] may be read */
	uint64_t *sizes;	/* with PARAM_APART, bytes of each; outlives the plan */
	void **stagings;	/* the same of the staging areas */
	_Atomic uint8_t *staged;
	struct arrived *
		*arrived; /* with PARAM_GRANULES, of large ones; NULL elsewhere; under lock */
	struct param_arena *arenas;
	size_t arena_count, arena_cap;
	pthread_mutex_t lock;
};

/* What a load needs besides its staging on a device that is host memory: the finisher's buffers,
 * stacks, what malloc keeps; and of each 512 bytes one for page tables (8 a page). */
#define HOST_SLACK_BYTES ((uint64_t)16 << 20)
#define HOST_TABLE_RATIO 512

/* Bytes of all parameters, each aligned. */
uint64_t param_memory_all(const struct wload_plan *plan);

/* Checks that the parameters fit the device.
 *
 * bytes          the most that is there at once: param_memory_all(), with release what
 *                param_memory_live() says
 * staging_bytes  counts only where the device's memory is the host's, as do the two above
 *
 * Returns 0, or -ENOMEM with all figures. */
int param_memory_fits(struct device *device, uint64_t bytes, uint64_t staging_bytes,
		      struct wload_error *err);

/* How many bytes of parameters are there at once, at most; without release all of them, and of
 * staging areas what this says with their bytes. With release:
 *
 *   in the order of reads, those of which a byte was placed and a byte is missing, each kept for
 *   `ahead` batches more than in that order, for readers finish batches out of it
 * + what may wait for the finisher (backlog_bytes), and one more, which it works on
 * + one whose steps are being run, beside its staging area
 *
 * never more than all. A reader that falls behind by more than its share can exceed it: then the
 * device refuses, and the load fails with what arrived consumed. Pure.
 *
 * release  with PARAM_GRANULES large ones don't count, but that each batch ahead may keep its own
 *          bytes and a granule
 *
 * Returns 0 or -ENOMEM. */
int param_memory_live(const struct wload_plan *plan, const struct reads *reads, size_t ahead,
		      uint64_t backlog_bytes, enum param_release release, uint64_t *ret_bytes,
		      struct wload_error *err);

/* Where each parameter begins when arenas hold at most cap bytes each. Pure.
 *
 * ret_arena, ret_offset  one a parameter
 * ret_bytes              one an arena; room for as many as there are parameters
 *
 * Returns the number of arenas; a parameter that is larger than cap has one to itself. */
uint32_t param_memory_layout(const struct wload_plan *plan, uint64_t cap, uint32_t *ret_arena,
			     uint64_t *ret_offset, uint64_t *ret_bytes);

/* Allocates (pooled), or gets ready to (release). With release the plan is needed until
 * param_memory_close().
 *
 * Returns 0 or -ENOMEM; what was allocated is for param_memory_close() either way. */
int param_memory_open(struct param_memory *memory, struct device *device,
		      const struct wload_plan *plan, enum param_release release,
		      struct wload_error *err);

/* Where a parameter's sources are placed, allocated if need be: its own base, or with steps that of
 * its staging area. Any thread. */
int param_memory_get(struct param_memory *memory, uint32_t param, void **ret_base,
		     struct wload_error *err);

/* The base of a parameter itself, allocated if need be. Any thread. */
int param_memory_own(struct param_memory *memory, uint32_t param, void **ret_base,
		     struct wload_error *err);

/* Frees a staging area: the steps were run. */
void param_memory_unstage(struct param_memory *memory, uint32_t param);

/* Frees all staging areas, and what would have been released, of a load that failed midway: while
 * there is a plan. */
void param_memory_unstage_all(struct param_memory *memory);

/* Bytes of a parameter were placed: frees what is complete and may go. Before they are counted:
 * whoever counts the last ones may free the parameter. Any thread. */
void param_memory_arrived(struct param_memory *memory, uint32_t param, uint64_t offset,
			  uint64_t bytes);

/* Does parameter b lie behind a in one piece of memory, with nothing but padding between? */
bool param_memory_joined(const struct param_memory *memory, uint32_t a, uint32_t b);

/* Frees a parameter's own memory (release; otherwise nothing). Nobody may use it any more. */
void param_memory_release(struct param_memory *memory, uint32_t param);

/* Frees the memory of a parameter that is kept apart, before the others. Any thread, once each. */
void param_memory_drop(struct param_memory *memory, uint32_t param);

/* Frees what is left; the device must be open still. A zeroed one is fine. */
void param_memory_close(struct param_memory *memory);

#endif
