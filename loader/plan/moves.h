/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_MOVES_H
#define WLOAD_PLAN_MOVES_H

/* Steps that move elements of one type, while a parameter gets them. */

#include "loader/plan/arena.h"
#include "wloadfs/plan.h"

struct moves {
	enum wload_dtype type;
	struct wload_step *items; /* in the arena */
	size_t count, room;
};

/* Where the next operand may begin behind one that ends at `end`. */
static inline uint64_t moves_align(uint64_t end)
{
	return (end + 15) & ~(uint64_t)15;
}

/* Takes room for steps. Returns 0 or -ENOMEM. */
int moves_take(struct moves *moves, struct arena *arena, size_t room, struct wload_error *err);

/* Adds a step of 1 to 3 dimensions that come with the largest out_stride first; nothing where a
 * size is 0.
 *
 * name  static
 * in    bytes, from the first staged one
 * out   elements, from the parameter's first; sizes and strides are in elements too */
void moves_add(struct moves *moves, const char *name, size_t dims, uint64_t in, uint64_t out,
	       const uint64_t *size, const uint64_t *in_stride, const uint64_t *out_stride);

/* Gives them, sorted by where their bytes begin, to a parameter with so many staged bytes. */
void moves_give(struct moves *moves, struct wload_param *param, uint64_t staged_bytes);

#endif
