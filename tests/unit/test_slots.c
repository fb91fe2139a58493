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
	struct slots_machine machine; /* cores, cache, copies, cached */
	int want;
	struct slots_shape shape;
} rows[] = {
	{"the default is 4 MiB a reader", 0, 0, {16, 0, false, false}, 0, {16, 2, 2 << 20}},
	{"to a GPU too, from the page cache", 0, 0, {16, 0, true, true}, 0, {16, 2, 2 << 20}},
	{"from the disk half as many, twice as large",
	 0,
	 0,
	 {16, 0, true, false},
	 0,
	 {8, 2, 4 << 20}},
	{"a large cache changes nothing", 0, 0, {16, 128 * MiB, true, false}, 0, {8, 2, 4 << 20}},
	{"a smaller one halves the slots", 0, 0, {16, 127 * MiB, true, false}, 0, {8, 2, 2 << 20}},
	{"down to 1 MiB", 0, 0, {16, 16 * MiB, true, true}, 0, {16, 2, 1 << 20}},
	{"more cores than 16 don't help", 0, 0, {128, 0, false, true}, 0, {16, 2, 2 << 20}},
	{"one core still has four readers", 0, 0, {1, 0, false, false}, 0, {4, 2, 2 << 20}},
	{"readers as asked for", 0, 5, {2, 0, false, true}, 0, {5, 2, 2 << 20}},
	{"staging as asked for, in any cache",
	 80 * MiB,
	 10,
	 {16, MiB, true, true},
	 0,
	 {10, 2, 4 << 20}},
	{"slots are powers of two", 100 * MiB, 16, {16, 0, false, false}, 0, {16, 2, 2 << 20}},
	{"slots end at 4 MiB", 4096 * MiB, 4, {16, 0, false, false}, 0, {4, 2, 4 << 20}},
	{"32 MiB for 16 readers", 32 * MiB, 0, {16, 0, false, false}, 0, {16, 2, 1 << 20}},
	{"too little for all means fewer", 1 * MiB, 0, {16, 0, false, false}, 0, {8, 2, 64 << 10}},
	{"the least there can be", 128 * KiB, 0, {16, 0, false, false}, 0, {1, 2, 64 << 10}},
	{"less than that", 128 * KiB - 1, 0, {16, 0, false, false}, -EINVAL, {0, 0, 0}},
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
