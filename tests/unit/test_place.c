/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/place.c: how many copies a batch takes, and that every byte arrives where it
 * belongs; on a device that counts copies and makes them late, from what the slot holds then. */

#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/place.h"
#include "plan_of.h"
#include "tap.h"

#define TENSORS_MAX 2000
#define COPIES_MAX  4096
#define SLOT_BYTES  ((size_t)1 << 20)

struct device_queue {
	struct {
		void *dst;
		const uint8_t *src;
		size_t bytes, rows, src_stride;
	} copies[COPIES_MAX];
	size_t count;
};

static int late_rows(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		     size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err)
{
	(void)err;
	queue->copies[queue->count].dst = device_at(base, offset);
	queue->copies[queue->count].src = src;
	queue->copies[queue->count].bytes = row_bytes;
	queue->copies[queue->count].rows = rows;
	queue->copies[queue->count++].src_stride = src_stride;
	return 0;
}

static int late_copy(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		     size_t bytes, struct wload_error *err)
{
	return late_rows(queue, base, offset, src, bytes, bytes, 1, err);
}

static void make_copies(struct device_queue *queue)
{
	for (size_t i = 0; i < queue->count; i++)
		for (size_t r = 0; r < queue->copies[i].rows; r++)
			memcpy((uint8_t *)queue->copies[i].dst + r * queue->copies[i].bytes,
			       queue->copies[i].src + r * queue->copies[i].src_stride,
			       queue->copies[i].bytes);
}

static const struct row {
	const char *name;
	size_t count;	      /* tensors, U8, side by side */
	uint64_t elements[3]; /* of each, in turn */
	bool slow, release;
	size_t slot_bytes; /* the room there is */
	size_t copies;
} rows[] = {
	{"scalars are one copy", 1000, {4, 4, 4}, true, false, SLOT_BYTES, 1},
	{"where copies cost nothing each is made", 1000, {4, 4, 4}, false, false, SLOT_BYTES, 1000},
	{"released parameters have memory of their own",
	 100,
	 {4, 4, 4},
	 true,
	 true,
	 SLOT_BYTES,
	 100},
	{"tensors without padding are one copy", 9, {256, 512, 1024}, true, false, SLOT_BYTES, 1},
	{"large ones without padding too", 6, {65536, 32768, 65536}, true, false, SLOT_BYTES, 1},
	{"scalars between large ones", 6, {65536, 4, 65532}, true, false, SLOT_BYTES, 4},
	{"scalars beside a large one", 4, {4, 8, 65536}, true, false, SLOT_BYTES, 2},
	{"no room to put them together", 1000, {4, 4, 4}, true, false, 4000 + 4096, 1000 - 15},
};

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

struct world {
	struct plan_of made;
	struct reads reads;
	struct param_memory memory;
	struct device_queue queue;
	struct reads_batch batch;
	uint8_t *slot;
};

static bool all_there(const struct world *w)
{
	for (size_t i = 0; i < w->batch.place_count; i++) {
		const struct reads_place *place = &w->batch.places[i];
		const uint8_t *param = w->memory.bases[place->param];

		for (uint32_t b = 0; b < place->bytes; b++)
			if (param[place->dst_offset + b] != byte_at(place->src_offset + b))
				return false;
	}
	return true;
}

static bool place_row(struct world *w, const struct row *row, struct device *device,
		      struct wload_error *err)
{
	static char names[TENSORS_MAX][24]; /* any size_t behind the letter */
	static struct plan_of_tensor tensors[TENSORS_MAX];
	struct place_slot slot = {.bytes = w->slot};
	struct reads_walk walk;

	for (size_t i = 0; i < row->count; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "t%05zu", i);
		tensors[i] =
			(struct plan_of_tensor){names[i], WLOAD_DTYPE_U8, row->elements[i % 3]};
	}
	if (plan_of(tensors, row->count, &w->made, err) < 0 ||
	    reads_build(w->made.inv, w->made.plan, SLOT_BYTES, &w->reads, err) < 0 ||
	    param_memory_open(&w->memory, device, w->made.plan, row->release, err) < 0)
		return false;
	walk = reads_walk(&w->reads);
	if (reads_next(&walk, &w->batch) != 1 || w->batch.place_count != row->count)
		return false;
	for (size_t i = 0; i < w->batch.bytes; i++)
		w->slot[i] = byte_at(i);
	slot.free = w->slot + w->batch.bytes;
	slot.free_bytes = row->slot_bytes - w->batch.bytes;
	return place_batch(&w->memory, &w->queue, &w->batch, &slot, err) == 0;
}

static void check_row(struct tap *tap, const struct row *row)
{
	struct device_ops ops = device_host;
	struct device device = {.ops = &ops};
	struct world *w = calloc(1, sizeof(*w));
	struct wload_error err = {0};
	bool pass;

	ops.copy_in = late_copy;
	ops.copy_rows = late_rows;
	ops.slow_copies = row->slow;
	w->slot = malloc(SLOT_BYTES);
	pass = place_row(w, row, &device, &err);
	if (pass)
		make_copies(&w->queue);
	ok(tap, pass && w->queue.count == row->copies && all_there(w), "place: %s (%zu copies) %s",
	   row->name, w->queue.count, err.text);
	reads_batch_free(&w->batch);
	reads_free(&w->reads);
	param_memory_close(&w->memory);
	plan_of_free(&w->made);
	free(w->slot);
	free(w);
}

/* Rows, dense and apart in the slot. */
static void check_rows(struct tap *tap, uint32_t pitch)
{
	static const struct plan_of_tensor tensor = {"t", WLOAD_DTYPE_U8, 1000};
	struct device_ops ops = device_host;
	struct device device = {.ops = &ops};
	struct world *w = calloc(1, sizeof(*w));
	struct reads_place place = {.dst_offset = 100, .bytes = 90};
	struct reads_batch batch = {.rows = 9, .stride = 64, .places = &place, .place_count = 1};
	struct wload_error err = {0};
	const uint8_t *param;
	bool pass;

	ops.copy_in = late_copy;
	ops.copy_rows = late_rows;
	w->slot = malloc(SLOT_BYTES);
	for (size_t i = 0; i < 1000; i++)
		w->slot[i] = byte_at(i);
	pass = plan_of(&tensor, 1, &w->made, &err) == 0 &&
	       param_memory_open(&w->memory, &device, w->made.plan, PARAM_KEPT, &err) == 0 &&
	       place_batch(&w->memory, &w->queue, &batch,
			   &(struct place_slot){.bytes = w->slot, .pitch = pitch}, &err) == 0;
	make_copies(&w->queue);
	param = pass ? w->memory.bases[0] : NULL;
	for (uint32_t i = 0; pass && i < 90; i++)
		pass = param[100 + i] == byte_at(i / 10 * pitch + i % 10);
	ok(tap, pass && w->queue.count == 1, "place: nine rows %u bytes apart are one copy %s",
	   pitch, err.text);
	param_memory_close(&w->memory);
	plan_of_free(&w->made);
	free(w->slot);
	free(w);
}

/* A thousand scalars of one parameter, on disk in another order. */
static void check_order(struct tap *tap)
{
	static const struct plan_of_tensor tensor = {"t", WLOAD_DTYPE_U8, 4000};
	static struct reads_place places[1000];
	struct device_ops ops = device_host;
	struct device device = {.ops = &ops};
	struct world *w = calloc(1, sizeof(*w));
	struct wload_error err = {0};
	bool pass;

	ops.copy_in = late_copy;
	ops.copy_rows = late_rows;
	ops.slow_copies = true;
	w->slot = malloc(SLOT_BYTES);
	w->batch = (struct reads_batch){.rows = 1, .bytes = 4000, .places = places};
	for (; w->batch.place_count < 1000; w->batch.place_count++) {
		uint32_t i = (uint32_t)w->batch.place_count;

		places[i] = (struct reads_place){
			.src_offset = 4 * i, .dst_offset = i * 7 % 1000 * 4, .bytes = 4};
	}
	for (size_t i = 0; i < 4000; i++)
		w->slot[i] = byte_at(i);
	pass = plan_of(&tensor, 1, &w->made, &err) == 0 &&
	       param_memory_open(&w->memory, &device, w->made.plan, PARAM_KEPT, &err) == 0 &&
	       place_batch(&w->memory, &w->queue, &w->batch,
			   &(struct place_slot){.bytes = w->slot,
						.free = w->slot + 4000,
						.free_bytes = SLOT_BYTES - 4000},
			   &err) == 0;
	make_copies(&w->queue);
	ok(tap, pass && all_there(w) && w->queue.count == 1,
	   "place: scalars in any order are one copy (%zu) %s", w->queue.count, err.text);
	param_memory_close(&w->memory);
	plan_of_free(&w->made);
	free(w->slot);
	free(w);
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	check_rows(&tap, 10);
	check_rows(&tap, 64);
	check_order(&tap);
	return tap_done(&tap);
}
