/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/arrived.c: which granules are complete. */

#include <string.h>

#include "loader/pipeline/arrived.h"
#include "tap.h"

#define GRANULE 10

struct step {
	uint64_t lo, hi;	   /* the piece */
	uint64_t done_lo, done_hi; /* what it completes */
};

#define STEPS_MAX 6

static const struct row {
	const char *name;
	struct step steps[STEPS_MAX];
	uint32_t ranges; /* that are left */
} rows[] = {
	{"a whole granule", {{0, 10, 0, 10}}, 1},
	{"more than one", {{0, 35, 0, 30}}, 1},
	{"inside of one", {{2, 8, 0, 0}}, 1},
	{"across a border", {{5, 15, 0, 0}}, 1},
	{"around one", {{5, 25, 10, 20}}, 1},
	{"in order", {{0, 7, 0, 0}, {7, 14, 0, 10}, {14, 21, 10, 20}}, 1},
	{"backwards", {{14, 20, 0, 0}, {7, 14, 10, 20}, {0, 7, 0, 10}}, 1},
	{"the gap last", {{0, 4, 0, 0}, {6, 10, 0, 0}, {4, 6, 0, 10}}, 1},
	{"a gap over borders", {{0, 8, 0, 0}, {32, 40, 0, 0}, {8, 32, 0, 40}}, 1},
	{"far ones first", {{90, 100, 90, 100}, {0, 5, 0, 0}, {50, 60, 50, 60}, {5, 10, 0, 10}}, 3},
	{"no piece", {{5, 5, 0, 0}}, 1},
	{"three into one", {{0, 3, 0, 0}, {7, 10, 0, 0}, {10, 13, 0, 0}, {3, 7, 0, 10}}, 1},
};

static void check_row(struct tap *tap, const struct row *row)
{
	struct arrived arrived = {0};
	bool pass = true;

	for (int i = 0; i < STEPS_MAX && row->steps[i].hi; i++) {
		const struct step *s = &row->steps[i];
		struct arrived_range done =
			arrived_add(&arrived, (struct arrived_range){s->lo, s->hi}, GRANULE);

		pass &= done.lo == s->done_lo && done.hi == s->done_hi;
	}
	ok(tap, pass && arrived.count == row->ranges, "arrived: %s", row->name);
}

/* Every granule is told once, whatever the order, as long as the pieces can be remembered. */
static void check_any_order(struct tap *tap)
{
	enum { PIECES = 100, PIECE = 7, GRANULES = PIECES * PIECE / GRANULE };
	uint32_t seed = 1, order[PIECES];
	bool pass = true;

	for (int round = 0; round < 50; round++) {
		struct arrived arrived = {0};
		int told[GRANULES] = {0};

		for (uint32_t i = 0; i < PIECES; i++) {
			uint32_t j = (seed = seed * 1664525u + 1013904223u) >> 8;

			j %= i + 1;
			order[i] = order[j];
			order[j] = i;
		}
		for (uint32_t i = 0; i < PIECES; i++) {
			struct arrived_range piece = {(uint64_t)order[i] * PIECE,
						      (uint64_t)(order[i] + 1) * PIECE};
			struct arrived_range done = arrived_add(&arrived, piece, GRANULE);

			for (uint64_t g = done.lo / GRANULE; g < done.hi / GRANULE; g++)
				told[g]++;
		}
		for (int g = 0; g < GRANULES; g++)
			pass &= told[g] == 1;
		pass &= arrived.count == 1;
	}
	ok(tap, pass, "arrived: each granule once, in any order");
}

/* Too many pieces apart: some are forgotten, none is told that did not arrive. */
static void check_forgotten(struct tap *tap)
{
	struct arrived arrived = {0};
	bool pass = true;

	for (uint64_t i = 0; i < 3 * ARRIVED_RANGES_MAX; i++) {
		struct arrived_range piece = {i * 2 * GRANULE + 1, i * 2 * GRANULE + GRANULE};
		struct arrived_range done = arrived_add(&arrived, piece, GRANULE);

		pass &= done.lo == done.hi;
	}
	ok(tap, pass && arrived.count == ARRIVED_RANGES_MAX,
	   "arrived: no more than there is room for");
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	check_any_order(&tap);
	check_forgotten(&tap);
	return tap_done(&tap);
}
