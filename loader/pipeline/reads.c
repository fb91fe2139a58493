/* SPDX-License-Identifier: Apache-2.0 */
/* Of a run of ranges, `open` is the first want that may reach past `at`: wants are sorted by where
 * they begin, so the window of those that reach into a batch begins there, and as ranges overlap
 * only where parameters share bytes it stays short. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/pipeline/reads.h"

static size_t count_wants(const struct wload_plan *plan)
{
	size_t n = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++)
		n += wload_plan_param(plan, p)->source_count;
	return n;
}

int reads_build(const struct wload_inventory *inv, const struct wload_plan *plan,
		uint32_t batch_bytes, struct reads *ret_reads, struct wload_error *err)
{
	size_t total = count_wants(plan), n = 0;
	struct reads_want *wants = calloc(total ? total : 1, sizeof(*wants));

	if (!wants)
		return wload_fail(err, ENOMEM, "no memory for %zu reads", total);
	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		for (uint32_t s = 0; s < param->source_count; s++) {
			const struct wload_source *source = &param->sources[s];
			struct wload_tensor t = wload_inventory_tensor(inv, source->tensor);

			if (source->bytes == 0)
				continue;
			wants[n++] =
				(struct reads_want){.file_offset = t.offset + source->src_offset,
						    .bytes = source->bytes,
						    .dst_offset = source->dst_offset,
						    .shard = t.shard,
						    .param = p,
						    .rows = source->rows,
						    .stride = source->src_stride};
		}
	}
	reads_of(wants, n, batch_bytes, ret_reads);
	return 0;
}

static int by_place(const void *left, const void *right)
{
	const struct reads_want *a = left, *b = right;

	if (a->shard != b->shard)
		return a->shard < b->shard ? -1 : 1;
	if (a->file_offset != b->file_offset)
		return a->file_offset < b->file_offset ? -1 : 1;
	if (a->param != b->param)
		return a->param < b->param ? -1 : 1;
	return (a->dst_offset > b->dst_offset) - (a->dst_offset < b->dst_offset);
}

static bool are_sorted(const struct reads_want *wants, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (by_place(&wants[i - 1], &wants[i]) > 0)
			return false;
	return true;
}

static uint64_t end_of(const struct reads_want *want)
{
	return want->file_offset + want->bytes;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Bytes that a walk will read. */
static uint64_t count_bytes(const struct reads *reads)
{
	uint64_t sum = 0, at = 0;

	for (size_t i = 0; i < reads->count; i++) {
		const struct reads_want *want = &reads->wants[i];

		if (i == 0 || want->shard != want[-1].shard || want[-1].rows > 1)
			at = 0;
		if (want->rows > 1) {
			sum += want->bytes;
		} else if (end_of(want) > at) {
			sum += end_of(want) - (want->file_offset > at ? want->file_offset : at);
			at = end_of(want);
		}
	}
	return sum;
}

void reads_of(struct reads_want *wants, size_t count, uint32_t batch_bytes, struct reads *ret_reads)
{
	assert(batch_bytes >= 16 && (batch_bytes & (batch_bytes - 1)) == 0 &&
	       batch_bytes <= (uint32_t)1 << 30);
	for (size_t i = 0; i < count; i++)
		if (wants[i].rows == 0 || wants[i].stride == wants[i].bytes / wants[i].rows)
			wants[i].rows = 1; /* pieces without gaps are one */
	/* Sorting takes as much memory again, and wants mostly come in order. */
	if (!are_sorted(wants, count))
		qsort(wants, count, sizeof(*wants), by_place);
	*ret_reads = (struct reads){.wants = wants, .count = count, .batch_bytes = batch_bytes};
	ret_reads->read_bytes = count_bytes(ret_reads);
}

void reads_free(struct reads *reads)
{
	free(reads->wants);
	*reads = (struct reads){0};
}

void reads_batch_free(struct reads_batch *batch)
{
	free(batch->places);
	*batch = (struct reads_batch){0};
}

struct reads_walk reads_walk(const struct reads *reads)
{
	return (struct reads_walk){.reads = reads,
				   .at = reads->count ? reads->wants[0].file_offset : 0};
}

/* Does want i belong to the run that is being walked? */
static bool in_run(const struct reads_walk *w, size_t i)
{
	const struct reads *reads = w->reads;

	return i < reads->count && reads->wants[i].rows == 1 &&
	       reads->wants[i].shard == reads->wants[w->open].shard;
}

/* Where the batch at `at` ends: at the first byte that nobody wants, where there are too many
 * places, or at limit. */
static uint64_t wanted_until(const struct reads_walk *w, uint64_t limit)
{
	const struct reads_want *wants = w->reads->wants;
	uint64_t end = w->at;

	for (size_t i = w->open; in_run(w, i) && end < limit; i++) {
		if (wants[i].file_offset > end)
			break;
		if (i - w->open >= READS_PLACES_MAX && wants[i].file_offset > w->at)
			return least(end, wants[i].file_offset);
		if (end_of(&wants[i]) > end)
			end = end_of(&wants[i]);
	}
	return least(end, limit);
}

static int add_place(struct reads_batch *batch, const struct reads_want *want, uint64_t from,
		     uint64_t until, uint64_t dst_offset)
{
	if (!grow_array(&batch->places, &batch->place_cap, batch->place_count + 1,
			sizeof(*batch->places)))
		return -ENOMEM;
	batch->places[batch->place_count++] =
		(struct reads_place){.dst_offset = dst_offset,
				     .param = want->param,
				     .src_offset = (uint32_t)(from - batch->file_offset),
				     .bytes = (uint32_t)(until - from)};
	return 0;
}

/* Places what the open wants have in [at, end). */
static int add_places(struct reads_batch *batch, const struct reads_walk *w, uint64_t end)
{
	uint64_t covered = w->at;

	for (size_t i = w->open; in_run(w, i); i++) {
		const struct reads_want *want = &w->reads->wants[i];
		uint64_t from = want->file_offset > w->at ? want->file_offset : w->at;
		uint64_t until = least(end_of(want), end);

		if (want->file_offset >= end)
			break;
		if (until <= w->at)
			continue;
		batch->exact &= from == covered;
		covered = until;
		if (add_place(batch, want, from, until,
			      want->dst_offset + (from - want->file_offset)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void begin_batch(struct reads_batch *batch, const struct reads_walk *w, uint64_t end)
{
	batch->file_offset = w->at;
	batch->bytes = (uint32_t)(end - w->at);
	batch->shard = w->reads->wants[w->open].shard;
	batch->rows = 1;
	batch->stride = 0;
	batch->exact = true;
	batch->place_count = 0;
}

/* The end of the slot-sized part of the file that `at` is in. */
static uint64_t limit_of(const struct reads_walk *w)
{
	return (w->at / w->reads->batch_bytes + 1) * w->reads->batch_bytes;
}

/* Takes the next want as the open one. */
static void open_next(struct reads_walk *w)
{
	w->open++;
	w->row = 0;
	if (w->open < w->reads->count)
		w->at = w->reads->wants[w->open].file_offset;
}

/* Goes to the next wanted byte at or behind `at`. */
static void advance(struct reads_walk *w)
{
	size_t next = w->open;

	while (in_run(w, next) && end_of(&w->reads->wants[next]) <= w->at)
		next++;
	if (!in_run(w, next)) {
		w->open = next - 1;
		open_next(w);
		return;
	}
	w->open = next;
	if (w->reads->wants[next].file_offset > w->at)
		w->at = w->reads->wants[next].file_offset;
}

static int next_of_run(struct reads_walk *w, struct reads_batch *batch)
{
	uint64_t end = wanted_until(w, limit_of(w));

	begin_batch(batch, w, end);
	if (add_places(batch, w, end) < 0)
		return -ENOMEM;
	w->at = end;
	advance(w);
	return 1;
}

/* A piece that is too long for a batch of whole pieces: part of it. */
static int next_of_piece(struct reads_walk *w, struct reads_batch *batch, uint64_t piece)
{
	const struct reads_want *want = &w->reads->wants[w->open];
	uint64_t begin = want->file_offset + w->row * want->stride;
	uint64_t end = least(begin + piece, limit_of(w));

	begin_batch(batch, w, end);
	if (add_place(batch, want, w->at, end,
		      want->dst_offset + w->row * piece + (w->at - begin)) < 0)
		return -ENOMEM;
	w->at = end;
	if (end < begin + piece)
		return 1;
	w->at = begin + want->stride;
	if (++w->row == want->rows)
		open_next(w);
	return 1;
}

/* As many whole pieces as fit. Slots have room for blocks that stick out at both ends. */
static int next_of_rows(struct reads_walk *w, struct reads_batch *batch)
{
	const struct reads_want *want = &w->reads->wants[w->open];
	uint64_t piece = want->bytes / want->rows;
	uint64_t room = w->reads->batch_bytes - w->reads->batch_bytes / 8, rows;

	if (piece > room)
		return next_of_piece(w, batch, piece);
	rows = least(1 + (room - piece) / want->stride, want->rows - w->row);
	begin_batch(batch, w, w->at + (rows - 1) * want->stride + piece);
	if (add_place(batch, want, w->at, w->at + rows * piece, want->dst_offset + w->row * piece) <
	    0)
		return -ENOMEM;
	batch->rows = (uint32_t)rows;
	batch->stride = rows > 1 ? (uint32_t)want->stride : 0;
	w->at += rows * want->stride;
	w->row += (uint32_t)rows;
	if (w->row == want->rows)
		open_next(w);
	return 1;
}

int reads_next(struct reads_walk *walk, struct reads_batch *batch)
{
	if (walk->open >= walk->reads->count)
		return 0;
	return walk->reads->wants[walk->open].rows > 1 ? next_of_rows(walk, batch)
						       : next_of_run(walk, batch);
}
