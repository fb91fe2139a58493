/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PIECES_H
#define WLOAD_PIECES_H

/* Which pieces of a parameter's staged bytes a grid of elements lies in, and fetching them.
 *
 * What lies close is one piece, gaps included; pieces at one distance are one read of rows:
 *
 *   staged   ..[x.x.x.x]...............[x.x.x.x]...............[x.x.x.x]..
 *   fetched  [x.x.x.x][x.x.x.x][x.x.x.x]
 *
 * Places are in halves of bytes, as in box.h. */

#include <stddef.h>
#include <stdint.h>

#include "loader/transform/transform.h"

/* Those of a step, and one for what each of its elements needs several of. */
#define PIECES_DIMS (WLOAD_STEP_DIMS + 1)

/* Elements in any number of dimensions, width halves of a byte each. */
struct grid {
	unsigned int width;
	uint64_t first; /* of the element of index 0 in all dimensions */
	uint64_t size[PIECES_DIMS], stride[PIECES_DIMS];
};

struct pieces {
	uint64_t first;	   /* byte of the first piece */
	uint64_t piece;	   /* bytes */
	uint64_t bytes;	   /* of all of them */
	unsigned int dims; /* along which there are several, the nearest first: */
	uint64_t size[PIECES_DIMS], stride[PIECES_DIMS]; /* strides in bytes */
	uint64_t at;		       /* of the grid's first element in what was fetched */
	uint64_t fetched[PIECES_DIMS]; /* the grid's strides there */
};

/* Plans it; reads nothing. */
void pieces_plan(const struct grid *grid, struct pieces *ret_pieces);

/* Reads the pieces, one behind the other, into buf (pieces->bytes). Returns what `read` did. */
int pieces_fetch(const struct pieces *pieces, transform_reader read, void *ctx, uint8_t *buf,
		 struct wload_error *err);

#endif
