/* SPDX-License-Identifier: Apache-2.0 */
/* Merges pieces (see coverage.h). */

#include <stdlib.h>
#include <string.h>

#include "fs/coverage.h"

/* Joins a piece to the only one, where they touch. */
static bool join_only(struct coverage *c, uint64_t lo, uint64_t hi)
{
	struct coverage_piece *only = &c->only;

	if (only->lo < only->hi && (lo > only->hi || hi < only->lo))
		return false;
	if (only->lo == only->hi)
		*only = (struct coverage_piece){lo, hi};
	only->lo = lo < only->lo ? lo : only->lo;
	only->hi = hi > only->hi ? hi : only->hi;
	return true;
}

/* The first piece that ends at or behind lo. */
static uint32_t find(const struct coverage *c, uint64_t lo)
{
	uint32_t i = 0;

	while (i < c->count && c->piece[i].hi < lo)
		i++;
	return i;
}

static void forget_smallest(struct coverage *c)
{
	uint32_t smallest = 0;

	for (uint32_t i = 1; i < c->count; i++)
		if (c->piece[i].hi - c->piece[i].lo < c->piece[smallest].hi - c->piece[smallest].lo)
			smallest = i;
	c->count--;
	memmove(&c->piece[smallest], &c->piece[smallest + 1],
		(c->count - smallest) * sizeof(*c->piece));
}

static void insert(struct coverage *c, uint64_t lo, uint64_t hi)
{
	uint32_t at = find(c, lo), end = at;

	for (; end < c->count && c->piece[end].lo <= hi; end++) {
		lo = c->piece[end].lo < lo ? c->piece[end].lo : lo;
		hi = c->piece[end].hi > hi ? c->piece[end].hi : hi;
	}
	memmove(&c->piece[at + 1], &c->piece[end], (c->count - end) * sizeof(*c->piece));
	c->count = c->count - (end - at) + 1;
	c->piece[at] = (struct coverage_piece){lo, hi};
	if (c->count > COVERAGE_PIECES_MAX)
		forget_smallest(c);
}

bool coverage_add(struct coverage *c, uint64_t lo, uint64_t hi, uint64_t bytes)
{
	if (lo >= hi)
		return bytes == 0;
	if (!c->piece && !join_only(c, lo, hi)) {
		c->piece = calloc(COVERAGE_PIECES_MAX + 1, sizeof(*c->piece));
		if (!c->piece)
			return false;
		c->piece[c->count++] = c->only;
	}
	if (!c->piece)
		return c->only.lo == 0 && c->only.hi >= bytes;
	insert(c, lo, hi);
	return c->count == 1 && c->piece[0].lo == 0 && c->piece[0].hi >= bytes;
}

void coverage_clear(struct coverage *c)
{
	free(c->piece);
	*c = (struct coverage){0};
}
