/* SPDX-License-Identifier: Apache-2.0 */
/* A reader: batches off the disk into slots, and from the slots to the device.
 *
 * It waits for a slot's copies only when it needs the slot again, so that with two slots one is
 * being read while the other's copies run. Where the device's memory can be addressed, cached bytes
 * are read straight into their parameters (one preadv over the placements) and no slot is touched;
 * uncached ones are not, for blocks off the disk begin and end where parameters do not. */

#include <errno.h>
#include <string.h>

#include "loader/pipeline/fetch.h"
#include "loader/pipeline/place.h"
#include "loader/pipeline/run.h"

/* With more placements than this in a batch they are small, and one read and many small copies are
 * cheaper than the kernel's walk over as many vectors. */
#define SCATTER_MAX 64

struct reader {
	struct run *run;
	struct device_queue *queue;
	uint8_t *staging;
	struct slots slots;
	struct reads_batch next;			/* what was taken, before it has a slot */
	struct reads_batch batches[SLOTS_A_READER_MAX]; /* what each busy slot holds */
};

static void count_read(struct run *run, const struct reads_batch *batch, enum way way)
{
	uint32_t bytes = reads_batch_wanted(batch);

	atomic_fetch_add_explicit(&run->bytes_read, bytes, memory_order_relaxed);
	if (way == WAY_DIRECT)
		atomic_fetch_add_explicit(&run->bytes_direct, bytes, memory_order_relaxed);
}

static bool scatters(const struct reader *r, const struct reads_batch *batch, enum way way)
{
	if (!r->run->device->ops->addressable || way != WAY_CACHED)
		return false;
	if (batch->rows > 1)
		return !way_reads_gaps(way, reads_batch_piece(batch), batch->stride);
	return batch->exact && batch->place_count <= SCATTER_MAX;
}

static int scatter_run(struct reader *r, struct wload_error *err)
{
	struct reads_batch *batch = &r->next;
	struct iovec vectors[SCATTER_MAX];
	int code;

	for (size_t i = 0; i < batch->place_count; i++) {
		const struct reads_place *place = &batch->places[i];
		void *base;

		code = param_memory_get(r->run->memory, place->param, &base, err);
		if (code < 0)
			return code;
		vectors[i] = (struct iovec){device_at(base, place->dst_offset), place->bytes};
	}
	return fetch_scatter(r->run->fetch, batch->shard, batch->file_offset, vectors,
			     (int)batch->place_count, err);
}

static int scatter_rows(struct reader *r, struct wload_error *err)
{
	struct reads_batch *batch = &r->next;
	uint32_t piece = reads_batch_piece(batch);
	void *base;
	int code = param_memory_get(r->run->memory, batch->places[0].param, &base, err);

	for (uint32_t i = 0; code == 0 && i < batch->rows; i++) {
		struct iovec vector = {
			device_at(base, batch->places[0].dst_offset + (uint64_t)i * piece), piece};

		code = fetch_scatter(r->run->fetch, batch->shard,
				     batch->file_offset + (uint64_t)i * batch->stride, &vector, 1,
				     err);
	}
	return code;
}

/* Reads a batch to where it belongs. */
static int scatter_batch(struct reader *r, struct wload_error *err)
{
	int code = r->next.rows > 1 ? scatter_rows(r, err) : scatter_run(r, err);

	if (code < 0)
		return code;
	count_read(r->run, &r->next, WAY_CACHED);
	return run_arrived(r->run, r->queue, &r->next, err);
}

/* Waits for the oldest slot's copies. */
static int retire(struct reader *r, struct wload_error *err)
{
	unsigned int slot = slots_retire(&r->slots);
	int code = r->run->device->ops->wait(r->queue, slot, err);

	return code < 0 ? code : run_arrived(r->run, r->queue, &r->batches[slot], err);
}

static uint8_t *slot_base(const struct reader *r, unsigned int slot)
{
	return r->staging + (size_t)slot * r->run->shape.slot_bytes;
}

/* Reads the batch of a slot; tells where in it things are. */
static int fill_slot(struct reader *r, unsigned int slot, enum way way, struct place_slot *ret,
		     struct wload_error *err)
{
	const struct reads_batch *batch = &r->batches[slot];
	struct fetch_rows rows = {.offset = batch->file_offset, .rows = batch->rows};
	uint8_t *base = slot_base(r, slot), *end = base + r->run->shape.slot_bytes;
	size_t used;
	int code;

	if (batch->rows > 1) {
		rows.piece = reads_batch_piece(batch);
		rows.stride = batch->stride;
		code = fetch_read_rows(r->run->fetch, &way, batch->shard, &rows, base, &ret->bytes,
				       &ret->pitch, err);
	} else {
		code = fetch_read(r->run->fetch, &way, batch->shard, batch->file_offset,
				  batch->bytes, base, &ret->bytes, err);
	}
	if (code < 0)
		return code;
	if (way != WAY_CACHED)
		fetch_forget(r->run->fetch, batch->shard, batch->file_offset, batch->bytes);
	count_read(r->run, batch, way);
	used = batch->rows > 1 ? r->run->shape.slot_bytes
			       : (size_t)(ret->bytes - base) + batch->bytes;
	ret->free = base + used;
	ret->free_bytes = (size_t)(end - ret->free);
	return 0;
}

/* Reads a batch into a slot, and queues its copies. */
static int stage_batch(struct reader *r, enum way way, struct wload_error *err)
{
	struct reads_batch spare;
	struct place_slot where = {0};
	unsigned int slot;
	int code = 0;

	if (slots_full(&r->slots))
		code = retire(r, err);
	if (code < 0)
		return code;
	slot = slots_claim(&r->slots);
	spare = r->batches[slot]; /* its array of places is used again */
	r->batches[slot] = r->next;
	r->next = spare;
	code = fill_slot(r, slot, way, &where, err);
	if (code == 0)
		code = place_batch(r->run->memory, r->queue, &r->batches[slot], &where, err);
	return code < 0 ? code : r->run->device->ops->mark(r->queue, slot, err);
}

static int read_all(struct reader *r, struct wload_error *err)
{
	int code;

	while ((code = run_next(r->run, &r->next, err)) > 0) {
		enum way way =
			fetch_way(r->run->fetch, r->next.shard, r->next.file_offset, r->next.bytes);

		code = scatters(r, &r->next, way) ? scatter_batch(r, err)
						  : stage_batch(r, way, err);
		if (code < 0)
			return code;
	}
	while (code == 0 && r->slots.busy && !atomic_load(&r->run->stopped))
		code = retire(r, err);
	return code;
}

void *reader_thread(void *arg)
{
	struct run *run = arg;
	const struct device_ops *ops = run->device->ops;
	size_t staging_bytes = (size_t)run->shape.slots * run->shape.slot_bytes;
	struct reader r = {.run = run, .slots = {.count = run->shape.slots}};
	struct wload_error err = {0};
	int code;

	device_run_near(run->device);
	r.staging = run->staging + staging_bytes * atomic_fetch_add(&run->readers_begun, 1);
	code = ops->queue_open(run->device, run->shape.slots, &r.queue, &err);
	if (code == 0)
		code = read_all(&r, &err);
	if (code < 0)
		run_fail(run, code, &err);
	ops->queue_close(r.queue); /* waits: copies from the staging may still run */
	for (unsigned int i = 0; i < run->shape.slots; i++)
		reads_batch_free(&r.batches[i]);
	reads_batch_free(&r.next);
	run_reader_done(run);
	return NULL;
}
