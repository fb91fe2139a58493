/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/param_memory.c: what a load is said to need, and what is refused for it; and what
 * memory.h adds up. */

#include <errno.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/pipeline/memory.h"
#include "loader/pipeline/param_memory.h"
#include "loader/plan/lay.h"
#include "plan_of.h"
#include "tap.h"

#define MIB ((uint64_t)1 << 20)

static uint64_t room_bytes;

static int some_room(struct device *device, uint64_t *ret_free, uint64_t *ret_total,
		     struct wload_error *err)
{
	(void)device;
	(void)err;
	*ret_free = *ret_total = room_bytes;
	return 0;
}

static const struct fits_row {
	const char *name;
	bool host; /* the device's memory is the host's */
	uint64_t bytes, staging, room;
	int want;
} fits_rows[] = {
	{"exactly, on a GPU", false, 100 * MIB, 6 * MIB, 100 * MIB, 0},
	{"one byte too many, on a GPU", false, 100 * MIB + 1, 0, 100 * MIB, -ENOMEM},
	{"exactly, on the host", true, 512 * MIB, 6 * MIB, (512 + 6 + 16 + 1) * MIB, 0},
	{"no room for page tables", true, 512 * MIB, 6 * MIB, (512 + 6 + 16 + 1) * MIB - 1,
	 -ENOMEM},
	{"no room for the staging", true, 100 * MIB, 64 * MIB, 140 * MIB, -ENOMEM},
	{"1 MiB to spare on the host", true, 100 * MIB, 0, 101 * MIB, -ENOMEM},
	{"over 2^64", true, UINT64_MAX, 6 * MIB, UINT64_MAX, -ENOMEM},
	{"no limit", false, UINT64_MAX, 0, UINT64_MAX, 0},
};

/* Parameters of 256 bytes, by how many of them a load has at once. Batches are of 128 bytes. */
static const struct live_row {
	const char *name;
	size_t ahead;
	uint64_t backlog, want; /* parameters */
	enum param_release release;
} live_rows[] = {
	{"one at a time, and the finisher's", 0, 0, 2, PARAM_WHOLE},
	{"one batch behind its place", 1, 0, 3, PARAM_WHOLE},
	{"what waits for the finisher", 0, 512, 4, PARAM_WHOLE},
	{"never more than all", 1000, 0, 8, PARAM_WHOLE},
	{"never more than all, of any backlog", 0, UINT64_MAX, 8, PARAM_WHOLE},
	{"kept: all", 0, 0, 8, PARAM_KEPT},
	{"kept apart: all", 0, 0, 8, PARAM_APART},
};

static const struct sum_row {
	const char *name;
	struct memory_look look;
	uint64_t want;
} sum_rows[] = {
	{"growth", {100, 40, 0, 0}, 60},    {"no growth", {40, 100, 0, 0}, 0},
	{"page cache", {0, 0, 7, 0}, 7},    {"the daemon", {0, 0, 0, 9}, 9},
	{"all of it", {100, 40, 7, 9}, 76},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check_fits(struct tap *tap, const struct fits_row *row)
{
	const struct device_ops ops = {.memory = some_room, .addressable = row->host};
	struct device device = {.ops = &ops, .label = "device"};
	struct wload_error err = {0};

	room_bytes = row->room;
	ok(tap, param_memory_fits(&device, row->bytes, row->staging, &err) == row->want,
	   "fits: %s %s", row->name, err.text);
}

/* Parameters of 256 bytes that are made of 512, which arrive in batches of 128 bytes of 256. */
static void check_staged(struct tap *tap, struct wload_plan *plan, const struct reads *reads)
{
	static const struct {
		const char *name;
		enum param_release release;
		size_t ahead;
		uint64_t want; /* times 256 */
	} staged_rows[] = {
		{"kept: all, and the one that arrives", PARAM_KEPT, 0, 8 + 2},
		{"kept: the next ones arrive beside it", PARAM_KEPT, 2, 8 + 4},
		{"apart: all, and the one that arrives", PARAM_APART, 0, 8 + 2},
		{"apart: the next ones arrive beside it", PARAM_APART, 2, 8 + 4},
		{"released: one arrives, one is made, one is seen to", PARAM_WHOLE, 0, 2 + 1 + 1},
		{"released: all arrive at once", PARAM_WHOLE, 100, 16 + 1 + 1},
	};
	static const struct wload_step step = {.kind = WLOAD_STEP_MOVE};

	for (uint32_t p = 0; p < 8; p++) {
		plan->params[p].steps = &step;
		plan->params[p].step_count = 1;
		plan->params[p].staged_bytes = 512;
	}
	for (size_t i = 0; i < COUNT(staged_rows); i++) {
		uint64_t bytes = 0;

		(void)param_memory_live(plan, reads, staged_rows[i].ahead, 0,
					staged_rows[i].release, &bytes, NULL);
		ok(tap, bytes == staged_rows[i].want * 256, "staged: %s (%ju)", staged_rows[i].name,
		   (uintmax_t)bytes);
	}
}

static void check_live(struct tap *tap)
{
	static const struct plan_of_tensor tensors[8] = {
		{"a", WLOAD_DTYPE_U8, 256}, {"b", WLOAD_DTYPE_U8, 256}, {"c", WLOAD_DTYPE_U8, 256},
		{"d", WLOAD_DTYPE_U8, 256}, {"e", WLOAD_DTYPE_U8, 256}, {"f", WLOAD_DTYPE_U8, 256},
		{"g", WLOAD_DTYPE_U8, 256}, {"h", WLOAD_DTYPE_U8, 256},
	};
	struct reads_want wants[8];
	struct wload_error err = {0};
	struct reads reads = {0};
	struct plan_of made;

	for (uint32_t i = 0; i < 8; i++) /* as if nothing stood before them */
		wants[i] = (struct reads_want){.file_offset = i * 256, .bytes = 256, .param = i};
	if (!ok(tap,
		plan_of(tensors, 8, &made, &err) == 0 && reads_of(wants, 8, 128, &reads, &err) == 0,
		"live: a plan"))
		return;
	for (size_t i = 0; i < COUNT(live_rows); i++) {
		const struct live_row *row = &live_rows[i];
		uint64_t bytes = 0;

		(void)param_memory_live(made.plan, &reads, row->ahead, row->backlog, row->release,
					&bytes, &err);
		ok(tap, bytes == row->want * 256, "live: %s (%ju)", row->name, (uintmax_t)bytes);
	}
	check_staged(tap, made.plan, &reads);
	reads_free(&reads);
	plan_of_free(&made);
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < COUNT(fits_rows); i++)
		check_fits(&tap, &fits_rows[i]);
	check_live(&tap);
	for (size_t i = 0; i < COUNT(sum_rows); i++)
		ok(&tap, memory_sum(&sum_rows[i].look) == sum_rows[i].want, "sum: %s",
		   sum_rows[i].name);
	return tap_done(&tap);
}
