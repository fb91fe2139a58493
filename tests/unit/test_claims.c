/* SPDX-License-Identifier: Apache-2.0 */
/* fs/claims.c: who needs what, against a plain table of claims. */

#include <stdlib.h>

#include "fs/claims.h"
#include "make_inventory.h"
#include "tap.h"

enum { TENSORS = 70, RANKS = 8, BYTES = 10 };

static struct wload_inventory *numbered(void)
{
	static char names[TENSORS][16];
	static struct made_tensor made[TENSORS];

	for (int i = 0; i < TENSORS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "t%02d", i);
		made[i] = (struct made_tensor){names[i], BYTES};
	}
	return make_inventory(made, TENSORS);
}

enum verb { DROP, RESTORE };

/* Steps on one tensor with three ranks; who 0 is the root. */
static const struct {
	const char *name;
	struct {
		enum verb verb;
		uint32_t who;
	} steps[5];
	int count;
	enum claims_change change; /* of the last step, a drop */
	uint32_t left;
	bool consumed, done[3]; /* afterwards; done: by each rank */
} rows[] = {
	{"one of three drops", {{DROP, 1}}, 1, CLAIMS_DROPPED, 2, false, {true, false, false}},
	{"one drops twice", {{DROP, 1}, {DROP, 1}}, 2, CLAIMS_SAME, 2, false, {true, false, false}},
	{"the last claim consumes",
	 {{DROP, 3}, {DROP, 1}, {DROP, 2}},
	 3,
	 CLAIMS_CONSUMED,
	 0,
	 true,
	 {true, true, true}},
	{"the root drops all",
	 {{DROP, 2}, {DROP, 0}},
	 2,
	 CLAIMS_CONSUMED,
	 0,
	 true,
	 {true, true, true}},
	{"a rank after the root changes nothing",
	 {{DROP, 0}, {DROP, 2}},
	 2,
	 CLAIMS_SAME,
	 0,
	 true,
	 {true, true, true}},
	{"a rank that restores needs it alone",
	 {{DROP, 0}, {RESTORE, 2}, {DROP, 1}},
	 3,
	 CLAIMS_SAME,
	 1,
	 false,
	 {true, false, true}},
	{"and consumes it again",
	 {{DROP, 0}, {RESTORE, 2}, {DROP, 2}},
	 3,
	 CLAIMS_CONSUMED,
	 0,
	 true,
	 {true, true, true}},
	{"the root restores every claim",
	 {{DROP, 1}, {DROP, 0}, {RESTORE, 0}, {DROP, 3}},
	 4,
	 CLAIMS_DROPPED,
	 2,
	 false,
	 {false, false, true}},
};

static void test_rows(struct tap *tap)
{
	struct wload_inventory *inv = numbered();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum claims_change change = CLAIMS_SAME;
		struct claims claims;
		bool same = claims_init(&claims, inv, 3) == 0;

		for (int s = 0; s < rows[i].count; s++)
			if (rows[i].steps[s].verb == DROP)
				change = claims_drop(&claims, rows[i].steps[s].who, 65);
			else
				(void)claims_restore(&claims, rows[i].steps[s].who, 65);
		same = same && change == rows[i].change &&
		       claims_left(&claims, 65) == rows[i].left &&
		       claims_done(&claims, CLAIMS_ROOT, 65) == rows[i].consumed;
		for (uint32_t rank = 0; rank < 3; rank++)
			same = same && claims_done(&claims, rank + 1, 65) == rows[i].done[rank];
		ok(tap, same, "%s", rows[i].name);
		claims_free(&claims);
	}
	inventory_free(inv);
}

/* Every count and bit against the plain table. */
static bool agrees(const struct claims *claims, bool dropped[RANKS][TENSORS])
{
	uint32_t of_rank[RANKS] = {0}, consumed = 0;

	for (uint32_t t = 0; t < TENSORS; t++) {
		uint32_t left = RANKS;

		for (uint32_t r = 0; r < RANKS; r++) {
			left -= dropped[r][t];
			of_rank[r] += dropped[r][t];
			if (claims_done(claims, r + 1, t) != dropped[r][t])
				return false;
		}
		consumed += left == 0;
		if (claims_left(claims, t) != left ||
		    claims_done(claims, CLAIMS_ROOT, t) != (left == 0))
			return false;
	}
	for (uint32_t r = 0; r < RANKS; r++)
		if (claims_of(claims, r + 1)->tensors != of_rank[r] ||
		    claims_of(claims, r + 1)->bytes != (uint64_t)of_rank[r] * BYTES)
			return false;
	return claims->consumed.tensors == consumed &&
	       claims->consumed.bytes == (uint64_t)consumed * BYTES;
}

static void test_random(struct tap *tap, unsigned int seed)
{
	struct wload_inventory *inv = numbered();
	bool dropped[RANKS][TENSORS] = {0};
	struct claims claims;
	bool same = claims_init(&claims, inv, RANKS) == 0;

	srand(seed);
	for (int step = 0; same && step < 5000; step++) {
		uint32_t t = (uint32_t)rand() % TENSORS, who = (uint32_t)rand() % (RANKS + 1);
		bool drop = rand() % 8 != 0;

		if (drop)
			(void)claims_drop(&claims, who, t);
		else
			(void)claims_restore(&claims, who, t);
		for (uint32_t r = 0; r < RANKS; r++)
			if (who == CLAIMS_ROOT || who == r + 1)
				dropped[r][t] = drop;
		same = agrees(&claims, dropped);
	}
	ok(tap, same, "5000 random steps of 8 ranks and the root (seed %u)", seed);
	claims_free(&claims);
	inventory_free(inv);
}

static void test_without_ranks(struct tap *tap)
{
	struct wload_inventory *inv = numbered();
	struct claims claims;
	bool begun = claims_init(&claims, inv, 0) == 0;

	ok(tap, begun && claims_left(&claims, 3) == 1, "without ranks there is one claim");
	ok(tap,
	   claims_drop(&claims, CLAIMS_ROOT, 3) == CLAIMS_CONSUMED && claims_left(&claims, 3) == 0,
	   "which consumes");
	ok(tap, claims_drop(&claims, CLAIMS_ROOT, 3) == CLAIMS_SAME, "once");
	ok(tap, claims_restore(&claims, CLAIMS_ROOT, 3) && claims_left(&claims, 3) == 1,
	   "and comes back");
	claims_free(&claims);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	test_rows(&tap);
	test_random(&tap, 1);
	test_random(&tap, 2);
	test_without_ranks(&tap);
	return tap_done(&tap);
}
