/* SPDX-License-Identifier: Apache-2.0 */
/* Integers as wide as the element stand for it: its bytes stay as they are. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "loader/plan/moves.h"

int moves_take(struct moves *moves, struct arena *arena, size_t room, struct wload_error *err)
{
	moves->items = arena_take(arena, (room ? room : 1) * sizeof(*moves->items));
	moves->room = room;
	return moves->items ? 0 : wload_fail(err, ENOMEM, "out of memory");
}

void moves_add(struct moves *moves, const char *name, size_t dims, uint64_t in, uint64_t out,
	       const uint64_t *size, const uint64_t *in_stride, const uint64_t *out_stride)
{
	struct wload_step step = {.kind = WLOAD_STEP_MOVE,
				  .name = name,
				  .from = moves->type,
				  .to = moves->type,
				  .in = in,
				  .out = out * (wload_dtype_describe(moves->type)->bits / 8)};
	size_t first = WLOAD_STEP_DIMS - dims;

	assert(moves->count < moves->room);
	for (size_t d = 0; d < WLOAD_STEP_DIMS; d++) {
		step.size[d] = d < first ? 1 : size[d - first];
		step.in_stride[d] = d < first ? 0 : in_stride[d - first];
		step.out_stride[d] = d < first ? size[0] * out_stride[0] : out_stride[d - first];
		step.block[d] = 1;
		if (!step.size[d])
			return;
	}
	moves->items[moves->count++] = step;
}

static int by_out(const void *left, const void *right)
{
	const struct wload_step *a = left, *b = right;

	return (a->out > b->out) - (a->out < b->out);
}

void moves_give(struct moves *moves, struct wload_param *param, uint64_t staged_bytes)
{
	qsort(moves->items, moves->count, sizeof(*moves->items), by_out);
	param->steps = moves->items;
	param->step_count = (uint32_t)moves->count;
	param->staged_bytes = staged_bytes;
}
