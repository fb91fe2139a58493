/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/slots.c: how staging is divided, and the ring's order. */

#include <errno.h>

#include "loader/pipeline/slots.h"
#include "tap.h"

#define KiB UINT64_C(1024)
#define MiB (KiB * 1024)

static const struct row {
	const char *name;
	uint64_t staging;
	unsigned int readers;
	struct slots_machine machine; /* cores, cache, copies */
	int want;
	struct slots_shape shape;
} rows[] = {
	{"the default is 4 MiB a reader", 0, 0, {16, 0, false}, 0, {16, 2, 2 << 20}},
	{"for a GPU 8 MiB, and 10 readers", 0, 0, {16, 0, true}, 0, {10, 2, 4 << 20}},
	{"a large cache changes nothing", 0, 0, {16, 160 * MiB, true}, 0, {10, 2, 4 << 20}},
	{"a smaller one halves the slots", 0, 0, {16, 159 * MiB, true}, 0, {10, 2, 2 << 20}},
	{"down to 1 MiB", 0, 0, {16, 16 * MiB, true}, 0, {10, 2, 1 << 20}},
	{"more cores than 16 don't help", 0, 0, {128, 0, false}, 0, {16, 2, 2 << 20}},
	{"one core still has four readers", 0, 0, {1, 0, false}, 0, {4, 2, 2 << 20}},
	{"readers as asked for", 0, 5, {2, 0, false}, 0, {5, 2, 2 << 20}},
	{"staging as asked for, in any cache", 80 * MiB, 10, {16, MiB, true}, 0, {10, 2, 4 << 20}},
	{"slots are powers of two", 100 * MiB, 16, {16, 0, false}, 0, {16, 2, 2 << 20}},
	{"slots end at 4 MiB", 4096 * MiB, 4, {16, 0, false}, 0, {4, 2, 4 << 20}},
	{"32 MiB for 16 readers", 32 * MiB, 0, {16, 0, false}, 0, {16, 2, 1 << 20}},
	{"too little for all means fewer", 1 * MiB, 0, {16, 0, false}, 0, {8, 2, 64 << 10}},
	{"the least there can be", 128 * KiB, 0, {16, 0, false}, 0, {1, 2, 64 << 10}},
	{"less than that", 128 * KiB - 1, 0, {16, 0, false}, -EINVAL, {0, 0, 0}},
};

static void check_row(struct tap *tap, const struct row *row)
{
	struct slots_shape shape = {0};
	int r = slots_shape(row->staging, row->readers, &row->machine, &shape);
	uint64_t all = (uint64_t)shape.readers * shape.slots * shape.slot_bytes;

	ok(tap,
	   r == row->want && shape.readers == row->shape.readers &&
		   shape.slots == row->shape.slots && shape.slot_bytes == row->shape.slot_bytes &&
		   (!row->staging || all <= row->staging),
	   "slots: %s (%u x %u x %u)", row->name, shape.readers, shape.slots, shape.slot_bytes);
}

int main(void)
{
	struct slots slots = {.count = 3};
	struct tap tap = {0};
	bool pass = true;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	for (unsigned int i = 0; i < 20; i++) {
		if (slots_full(&slots))
			pass &= slots_retire(&slots) == (i - 3) % 3;
		pass &= slots_claim(&slots) == i % 3;
	}
	ok(&tap, pass && slots.busy == 3, "slots: the oldest becomes free first");
	while (slots.busy)
		(void)slots_retire(&slots);
	ok(&tap, !slots_full(&slots), "slots: empty after the last one");
	return tap_done(&tap);
}
