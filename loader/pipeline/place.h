/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLACE_H
#define WLOAD_PLACE_H

/* From a slot to the parameters: queues the copies of one batch.
 *
 * On a device where each copy costs microseconds (4 bytes take a GPU 2.4), fewer are made:
 *
 *   in the slot         |aaaa|bbbb|c|d|e|ffff…      c, d, e: scalars
 *   in the parameters   |aaaa|bbbb|c···|d···|e···|ffff…   ·: padding between parameters
 *
 * places that lie in the parameters as they lie in the slot are one copy (a and b), and small ones
 * that have only padding between them are put together behind the batch, padding included, and
 * copied at once (c, d, e), whatever their order in the slot: a stack's experts lie by number, on
 * disk often by name (0, 1, 10, 11, 2). Parameters are pooled in the order of the plan, which is
 * that of the disk, so a checkpoint's scalars, side by side on disk, are side by side there. */

#include "loader/device/device.h"
#include "loader/pipeline/param_memory.h"
#include "loader/pipeline/reads.h"

/* Where a batch is. */
struct place_slot {
	const uint8_t *bytes; /* the batch's first byte */
	uint32_t pitch;	      /* between pieces, when it has rows */
	uint8_t *free;	      /* room behind it in the slot, to put small ones together */
	size_t free_bytes;
};

/* Queues the copies; the slot stays untouched until a mark behind them was waited for.
 *
 * batch  its places may come into another order
 *
 * Returns 0, or what the device or the memory said. */
int place_batch(struct param_memory *memory, struct device_queue *queue, struct reads_batch *batch,
		const struct place_slot *slot, struct wload_error *err);

#endif
