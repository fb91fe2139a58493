/* SPDX-License-Identifier: Apache-2.0 */
/* fs/coverage.c: a tensor is read once its every byte was, in whatever pieces. */

#include <stdlib.h>
#include <string.h>

#include "fs/coverage.h"
#include "tap.h"

#define PIECES 8
#define BYTES  1000

static const struct {
	const char *name;
	struct coverage_piece piece[PIECES];
	uint64_t bytes;
	bool want; /* after the last piece */
} rows[] = {
	{"nothing of nothing", {{0, 0}}, 0, true},
	{"nothing", {{5, 5}}, 10, false},
	{"all at once", {{0, 10}}, 10, true},
	{"one byte less at the end", {{0, 9}}, 10, false},
	{"one byte less at the start", {{1, 10}}, 10, false},
	{"in order", {{0, 3}, {3, 6}, {6, 10}}, 10, true},
	{"backwards", {{6, 10}, {3, 6}, {0, 3}}, 10, true},
	{"a hole", {{0, 3}, {4, 10}}, 10, false},
	{"a hole that is filled", {{0, 3}, {4, 10}, {3, 4}}, 10, true},
	{"the same twice is not twice as much", {{0, 5}, {0, 5}}, 10, false},
	{"overlapping", {{2, 7}, {0, 5}, {4, 10}}, 10, true},
	{"one that covers many", {{1, 2}, {3, 4}, {5, 6}, {0, 10}}, 10, true},
	{"two readers from both halves", {{0, 2}, {5, 7}, {2, 5}, {7, 10}}, 10, true},
	{"more than there is", {{0, 4096}}, 10, true},
};

static void test_rows(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct coverage c = {0};
		bool got = false;

		for (int p = 0; p < PIECES && (p == 0 || rows[i].piece[p].hi); p++)
			got = coverage_add(&c, rows[i].piece[p].lo, rows[i].piece[p].hi,
					   rows[i].bytes);
		ok(tap, got == rows[i].want, "%s", rows[i].name);
		coverage_clear(&c);
	}
}

/* Against a plain array. While no more pieces than there is room for were ever apart, the answer is
 * exact; else it may only be too modest. */
static bool random_agrees(unsigned int seed)
{
	struct coverage c = {0};
	bool plain[BYTES] = {false}, same = true, exact = true;

	for (int step = 0; step < 4000 && same; step++) {
		uint64_t lo = (uint64_t)rand_r(&seed) % BYTES;
		uint64_t hi = lo + (uint64_t)rand_r(&seed) % 12;
		uint32_t apart = 0;
		bool all = true, got;

		hi = hi < BYTES ? hi : BYTES;
		for (uint64_t at = lo; at < hi; at++)
			plain[at] = true;
		for (int at = 0; at < BYTES; at++) {
			all &= plain[at];
			apart += plain[at] && (at == 0 || !plain[at - 1]);
		}
		exact &= apart <= COVERAGE_PIECES_MAX;
		got = coverage_add(&c, lo, hi, BYTES);
		/* An empty piece answers for nothing but an empty tensor. */
		same = lo == hi || (exact ? got == all : !got || all);
	}
	coverage_clear(&c);
	return same;
}

static void test_forgetting(struct tap *tap)
{
	struct coverage c = {0};
	bool got = false;

	for (uint64_t i = 0; i < COVERAGE_PIECES_MAX; i++)
		got |= coverage_add(&c, 4 * i, 4 * i + 2, 4 * COVERAGE_PIECES_MAX);
	for (uint64_t i = 0; i < COVERAGE_PIECES_MAX; i++)
		got = coverage_add(&c, 4 * i + 2, 4 * i + 4, 4 * COVERAGE_PIECES_MAX);
	ok(tap, got, "as many pieces as there is room for, filled");
	coverage_clear(&c);
	for (uint64_t i = 0; i < 10 * COVERAGE_PIECES_MAX; i++)
		got = coverage_add(&c, 4 * i, 4 * i + 2, UINT64_MAX);
	ok(tap, !got && c.count == COVERAGE_PIECES_MAX, "more pieces than that take no more room");
	got = coverage_add(&c, 0, UINT64_MAX, UINT64_MAX);
	ok(tap, got, "and one that covers all is enough");
	coverage_clear(&c);
}

int main(void)
{
	struct tap tap = {0};

	test_rows(&tap);
	for (unsigned int seed = 1; seed <= 20; seed++)
		ok(&tap, random_agrees(seed), "random pieces, seed %u", seed);
	test_forgetting(&tap);
	return tap_done(&tap);
}
