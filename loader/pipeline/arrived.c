/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "loader/pipeline/arrived.h"

/* The first range that ends at or behind a byte. */
static uint32_t find(const struct arrived *arrived, uint64_t at)
{
	uint32_t i = 0;

	while (i < arrived->count && arrived->ranges[i].hi < at)
		i++;
	return i;
}

/* Puts a range in the place of ranges [first, end). */
static void replace(struct arrived *arrived, uint32_t first, uint32_t end,
		    struct arrived_range range)
{
	memmove(&arrived->ranges[first + 1], &arrived->ranges[end],
		(arrived->count - end) * sizeof(*arrived->ranges));
	arrived->ranges[first] = range;
	arrived->count -= end - first;
	arrived->count++;
}

struct arrived_range arrived_add(struct arrived *arrived, struct arrived_range piece,
				 uint64_t granule)
{
	uint32_t first = find(arrived, piece.lo), end = first;
	struct arrived_range whole = piece, done;

	for (; end < arrived->count && arrived->ranges[end].lo <= piece.hi; end++) {
		if (arrived->ranges[end].lo < whole.lo)
			whole.lo = arrived->ranges[end].lo;
		if (arrived->ranges[end].hi > whole.hi)
			whole.hi = arrived->ranges[end].hi;
	}
	if (first < end || arrived->count < ARRIVED_RANGES_MAX)
		replace(arrived, first, end, whole);
	/* Only granules that the piece lies in can have been completed by it. */
	done.lo = piece.lo / granule * granule;
	done.hi = (piece.hi + granule - 1) / granule * granule;
	if (done.lo < whole.lo)
		done.lo += granule;
	if (done.hi > whole.hi)
		done.hi = whole.hi / granule * granule;
	if (done.lo >= done.hi)
		done.lo = done.hi = 0;
	return done;
}
