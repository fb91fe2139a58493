/* SPDX-License-Identifier: Apache-2.0 */
/* fs/credit: which pieces are taken, and what gives their bytes back. */

#include "fs/credit.h"
#include "make_inventory.h"
#include "tap.h"

#define PIECE ((uint64_t)CREDIT_PIECE_BYTES)

/* Three tensors: 2.5 pieces, nothing, 100 bytes. */
static const struct made_tensor made[] = {
	{"a", 2 * PIECE + PIECE / 2},
	{"b", 0},
	{"c", 100},
};

enum step { TAKE, CONSUME, READ, RESTORE };

static const struct {
	const char *name;
	enum step step;
	uint32_t tensor;
	uint64_t lo, hi; /* of TAKE: from there; what it must give */
	int says;
	uint64_t bytes; /* of TAKE */
	uint64_t ahead; /* afterwards */
} steps[] = {
	{"the first piece", TAKE, 0, 0, 0, CREDIT_PIECE, PIECE, PIECE},
	{"once", TAKE, 0, 0, PIECE, CREDIT_PIECE, PIECE, 2 * PIECE},
	{"the third does not fit", TAKE, 0, 0, 2 * PIECE, CREDIT_FULL, 0, 2 * PIECE},
	{"a small one does", TAKE, 2, 0, 0, CREDIT_PIECE, 100, 2 * PIECE + 100},
	{"and has no more", TAKE, 2, 0, 0, CREDIT_NONE, 0, 2 * PIECE + 100},
	{"nothing has no piece", TAKE, 1, 0, 0, CREDIT_NONE, 0, 2 * PIECE + 100},
	{"a READ that stops before the end gives nothing back", READ, 0, 0, PIECE - 1, false, 0,
	 2 * PIECE + 100},
	{"one that reaches it does", READ, 0, PIECE - 1, PIECE, true, 0, PIECE + 100},
	{"and again does not", READ, 0, 0, PIECE, false, 0, PIECE + 100},
	{"what was read is not taken again", TAKE, 0, 0, 2 * PIECE, CREDIT_PIECE, PIECE / 2,
	 PIECE + PIECE / 2 + 100},
	{"consumption gives all back", CONSUME, 0, 0, 0, true, 0, 100},
	{"once", CONSUME, 0, 0, 0, false, 0, 100},
	{"consuming nothing gives nothing", CONSUME, 1, 0, 0, false, 0, 100},
	{"the end of a tensor ends a piece", READ, 2, 50, 200, true, 0, 0},
	{"read, but not ahead: nothing back", READ, 0, 0, 3 * PIECE, false, 0, 0},
	{"and nothing is left to take", TAKE, 0, 0, 0, CREDIT_NONE, 0, 0},
	{"", RESTORE, 0, 0, 0, 0, 0, 0},
	{"until it is restored", TAKE, 0, 0, 0, CREDIT_PIECE, PIECE, PIECE},
};

static int take(struct credit *credit, size_t i, uint64_t *at, uint64_t *bytes)
{
	switch (steps[i].step) {
	case TAKE:
		*at = steps[i].lo;
		return (int)credit_take(credit, steps[i].tensor, at, bytes);
	case CONSUME:
		return credit_consumed(credit, steps[i].tensor);
	case READ:
		return credit_read(credit, steps[i].tensor, steps[i].lo, steps[i].hi);
	default:
		credit_restored(credit);
		return 0;
	}
}

int main(void)
{
	struct wload_inventory *inv = make_inventory(made, sizeof(made) / sizeof(made[0]));
	struct tap tap = {0};
	struct credit credit;

	ok(&tap, credit_init(&credit, inv, 2 * PIECE + 100) == 0, "a credit");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t at = steps[i].hi, bytes = 0;
		int says = take(&credit, i, &at, &bytes);

		ok(&tap,
		   says == steps[i].says && bytes == steps[i].bytes &&
			   credit.ahead_bytes == steps[i].ahead &&
			   (says != CREDIT_PIECE || steps[i].step != TAKE || at == steps[i].hi),
		   "step %zu: %s", i, steps[i].name);
	}
	credit_free(&credit);
	inventory_free(inv);
	return tap_done(&tap);
}
