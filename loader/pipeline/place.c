/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/place.h"

/* Larger copies are worth their microseconds. */
#define GATHER_MAX_BYTES 16384u

/* One copy: places from first to last. */
struct copy {
	const struct reads_place *first, *last;
	const uint8_t *src;
	void *dst;
	size_t bytes;
};

struct placer {
	struct param_memory *memory;
	struct device_queue *queue;
	struct place_slot slot;
	struct copy gathered; /* bytes 0: none; src in the slot's free part */
};

static int queue_copy(struct placer *p, const struct copy *copy, struct wload_error *err)
{
	return p->memory->device->ops->copy_in(p->queue, copy->dst, 0, copy->src, copy->bytes, err);
}

static int flush(struct placer *p, struct wload_error *err)
{
	struct copy copy = p->gathered;

	p->gathered.bytes = 0;
	return copy.bytes ? queue_copy(p, &copy, err) : 0;
}

/* Bytes between the end of a copy and the next one that nobody uses. Returns false when there is
 * something else between. */
static bool padding_between(const struct placer *p, const struct copy *copy,
			    const struct copy *next, size_t *ret_bytes)
{
	const struct reads_place *last = copy->last, *first = next->first;
	uintptr_t end = (uintptr_t)copy->dst + copy->bytes, begin = (uintptr_t)next->dst;
	uint64_t param_bytes = wload_plan_param(p->memory->plan, last->param)->bytes;

	if (first->param == last->param && begin != end)
		return false;
	if (first->param != last->param &&
	    (first->dst_offset || last->dst_offset + last->bytes != param_bytes ||
	     !param_memory_joined(p->memory, last->param, first->param)))
		return false;
	*ret_bytes = begin - end;
	return true;
}

/* Puts a small copy behind those that are gathered, if it belongs there. */
static bool gather(struct placer *p, const struct copy *copy)
{
	struct copy *all = &p->gathered;
	size_t padding;
	uint8_t *at;

	if (!all->bytes || !padding_between(p, all, copy, &padding) ||
	    p->slot.free_bytes < padding + copy->bytes)
		return false;
	at = p->slot.free;
	memset(at, 0, padding);
	memcpy(at + padding, copy->src, copy->bytes);
	p->slot.free += padding + copy->bytes;
	p->slot.free_bytes -= padding + copy->bytes;
	all->bytes += padding + copy->bytes;
	all->last = copy->last;
	return true;
}

static int add_copy(struct placer *p, const struct copy *copy, struct wload_error *err)
{
	bool small = copy->bytes <= GATHER_MAX_BYTES;
	int r;

	if (small && gather(p, copy))
		return 0;
	r = flush(p, err);
	if (r < 0 || !small || p->slot.free_bytes < copy->bytes)
		return r < 0 ? r : queue_copy(p, copy, err);
	p->gathered = *copy;
	p->gathered.src = memcpy(p->slot.free, copy->src, copy->bytes);
	p->slot.free += copy->bytes;
	p->slot.free_bytes -= copy->bytes;
	return 0;
}

/* Extends a copy by a place that lies behind it on both sides. */
static bool extend(const struct placer *p, struct copy *copy, const struct copy *next)
{
	size_t padding;

	if (next->src != copy->src + copy->bytes || !padding_between(p, copy, next, &padding) ||
	    padding)
		return false;
	copy->bytes += next->bytes;
	copy->last = next->last;
	return true;
}

static int by_destination(const void *left, const void *right)
{
	const struct reads_place *a = left, *b = right;

	if (a->param != b->param)
		return a->param < b->param ? -1 : 1;
	return (a->dst_offset > b->dst_offset) - (a->dst_offset < b->dst_offset);
}

static int place_few(struct placer *p, struct reads_batch *batch, struct wload_error *err)
{
	struct copy copy = {0};
	int r = 0;

	qsort(batch->places, batch->place_count, sizeof(*batch->places), by_destination);
	for (size_t i = 0; r == 0 && i < batch->place_count; i++) {
		const struct reads_place *place = &batch->places[i];
		struct copy next = {.first = place,
				    .last = place,
				    .src = p->slot.bytes + place->src_offset,
				    .bytes = place->bytes};
		void *base;

		r = param_memory_get(p->memory, place->param, &base, err);
		if (r < 0)
			return r;
		next.dst = device_at(base, place->dst_offset);
		if (copy.bytes && extend(p, &copy, &next))
			continue;
		if (copy.bytes)
			r = add_copy(p, &copy, err);
		copy = next;
	}
	if (r == 0 && copy.bytes)
		r = add_copy(p, &copy, err);
	return r < 0 ? r : flush(p, err);
}

static int place_each(struct placer *p, const struct reads_batch *batch, struct wload_error *err)
{
	for (size_t i = 0; i < batch->place_count; i++) {
		const struct reads_place *place = &batch->places[i];
		void *base;
		int r = param_memory_get(p->memory, place->param, &base, err);

		if (r == 0)
			r = p->memory->device->ops->copy_in(p->queue, base, place->dst_offset,
							    p->slot.bytes + place->src_offset,
							    place->bytes, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int place_rows(struct placer *p, const struct reads_batch *batch, struct wload_error *err)
{
	const struct device_ops *ops = p->memory->device->ops;
	const struct reads_place *place = &batch->places[0];
	uint32_t piece = reads_batch_piece(batch);
	void *base;
	int r = param_memory_get(p->memory, place->param, &base, err);

	if (r < 0)
		return r;
	if (p->slot.pitch == piece)
		return ops->copy_in(p->queue, base, place->dst_offset, p->slot.bytes, place->bytes,
				    err);
	return ops->copy_rows(p->queue, base, place->dst_offset, p->slot.bytes, p->slot.pitch,
			      piece, batch->rows, err);
}

int place_batch(struct param_memory *memory, struct device_queue *queue, struct reads_batch *batch,
		const struct place_slot *slot, struct wload_error *err)
{
	struct placer p = {.memory = memory, .queue = queue, .slot = *slot};

	if (batch->rows > 1)
		return place_rows(&p, batch, err);
	if (memory->device->ops->slow_copies)
		return place_few(&p, batch, err);
	return place_each(&p, batch, err);
}
