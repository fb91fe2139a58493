/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_ARRIVED_H
#define WLOAD_ARRIVED_H

/* Which bytes of a parameter arrived, so that a load that keeps nothing can give back its memory
 * while the rest is still to come. Pure.
 *
 * Memory is given back in granules; one is complete when all its bytes arrived, in whichever order
 * and by however many pieces. What is remembered is bounded: of pieces that lie too far apart to be
 * joined the later ones are forgotten, and their granules stay until the parameter goes. */

#include <stdint.h>

#define ARRIVED_RANGES_MAX 64

struct arrived_range {
	uint64_t lo, hi; /* bytes [lo, hi) of the parameter */
};

/* Zeroed: nothing arrived. */
struct arrived {
	uint32_t count;
	struct arrived_range ranges[ARRIVED_RANGES_MAX]; /* sorted, apart from each other */
};

/* Adds a piece, which did not arrive before. Returns the granules that it completed, empty when lo
 * == hi. */
struct arrived_range arrived_add(struct arrived *arrived, struct arrived_range piece,
				 uint64_t granule);

#endif
