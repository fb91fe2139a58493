/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PARAM_MEMORY_H
#define WLOAD_PARAM_MEMORY_H

/* The device memory of all parameters.
 *
 * Pooled, a load asks the device once: parameters lie one behind the other, 256-byte aligned, in
 * the plan's order. A device that refuses that much in one piece is asked for half as much a piece,
 * and so on. With release each parameter has memory of its own, from when its first byte is to be
 * placed until it is complete; a module is freed parameter by parameter. */

#include <pthread.h>
#include <stdatomic.h>

#include "loader/device/device.h"

#define PARAM_ALIGN_BYTES 256

struct param_arena {
	void *base;
	uint64_t bytes;
};

struct param_memory {
	struct device *device; /* borrowed */
	const struct wload_plan *plan;
	bool release;
	uint32_t count;
	void **bases;		/* of each parameter; with release under lock until it is there */
	_Atomic uint8_t *there; /* bases[i] may be read */
	struct param_arena *arenas;
	size_t arena_count, arena_cap;
	pthread_mutex_t lock;
};

/* Checks that the parameters fit the device: their sum when pooled. With release how many are
 * there at once isn't known before, so that the largest one fits is all that can be said.
 *
 * Returns 0, or -ENOMEM with both figures. */
int param_memory_fits(struct device *device, const struct wload_plan *plan, bool release,
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
		      const struct wload_plan *plan, bool release, struct wload_error *err);

/* The base of a parameter, allocated if need be. Any thread. */
int param_memory_get(struct param_memory *memory, uint32_t param, void **ret_base,
		     struct wload_error *err);

/* Frees a parameter's own memory (release; otherwise nothing). Nobody may use it any more. */
void param_memory_release(struct param_memory *memory, uint32_t param);

/* Frees what is left; the device must be open still. A zeroed one is fine. */
void param_memory_close(struct param_memory *memory);

#endif
