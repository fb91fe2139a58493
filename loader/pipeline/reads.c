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

static struct reads_want planned(const struct reads *reads, uint64_t ref)
{
	uint32_t param = (uint32_t)(ref >> 32);
	const struct wload_source *source =
		&wload_plan_param(reads->plan, param)->sources[(uint32_t)ref];
	struct wload_tensor t = wload_inventory_tensor(reads->inv, source->tensor);

	return (struct reads_want){.file_offset = t.offset + source->src_offset,
				   .bytes = source->bytes,
				   .dst_offset = source->dst_offset,
				   .shard = t.shard,
				   .param = param,
				   .rows = source->rows,
				   .stride = source->src_stride};
}

static struct reads_want want_of(const struct reads *reads, uint64_t ref)
{
	struct reads_want want = reads->given ? reads->given[ref] : planned(reads, ref);

	/* pieces without gaps are one */
	if (want.rows == 0 || want.stride == want.bytes / want.rows)
		want.rows = 1;
	return want;
}

/* The want at a place in the order. */
static struct reads_want want_at(const struct reads *reads, size_t i)
{
	return want_of(reads, reads->order[i]);
}

static int compare(const struct reads_want *a, const struct reads_want *b)
{
	if (a->shard != b->shard)
		return a->shard < b->shard ? -1 : 1;
	if (a->file_offset != b->file_offset)
		return a->file_offset < b->file_offset ? -1 : 1;
	if (a->param != b->param)
		return a->param < b->param ? -1 : 1;
	return (a->dst_offset > b->dst_offset) - (a->dst_offset < b->dst_offset);
}

static int by_place(const void *left, const void *right, void *ctx)
{
	struct reads_want a = want_of(ctx, *(const uint64_t *)left);
	struct reads_want b = want_of(ctx, *(const uint64_t *)right);

	return compare(&a, &b);
}

static bool are_sorted(const struct reads *reads)
{
	for (size_t i = 1; i < reads->count; i++) {
		struct reads_want before = want_at(reads, i - 1), want = want_at(reads, i);

		if (compare(&before, &want) > 0)
			return false;
	}
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
	struct reads_want before = {0};

	for (size_t i = 0; i < reads->count; i++) {
		struct reads_want want = want_at(reads, i);

		if (i == 0 || want.shard != before.shard || before.rows > 1)
			at = 0;
		if (want.rows > 1) {
			sum += want.bytes;
		} else if (end_of(&want) > at) {
			sum += end_of(&want) - (want.file_offset > at ? want.file_offset : at);
			at = end_of(&want);
		}
		before = want;
	}
	return sum;
}

/* Puts the order in order. */
static void arrange(struct reads *reads)
{
	assert(reads->batch_bytes >= 16 && (reads->batch_bytes & (reads->batch_bytes - 1)) == 0 &&
	       reads->batch_bytes <= (uint32_t)1 << 30);
	/* Sorting takes as much memory again, and wants mostly come in order. */
	if (!are_sorted(reads))
		qsort_r(reads->order, reads->count, sizeof(*reads->order), by_place, reads);
	reads->read_bytes = count_bytes(reads);
}

static int allocate(struct reads *reads, size_t count, struct wload_error *err)
{
	reads->order = calloc(count ? count : 1, sizeof(*reads->order));
	return reads->order ? 0 : wload_fail(err, ENOMEM, "no memory for %zu reads", count);
}

static size_t count_sources(const struct wload_plan *plan)
{
	size_t n = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++)
		n += wload_plan_param(plan, p)->source_count;
	return n;
}

int reads_build(const struct wload_inventory *inv, const struct wload_plan *plan,
		uint32_t batch_bytes, struct reads *ret_reads, struct wload_error *err)
{
	struct reads reads = {.inv = inv, .plan = plan, .batch_bytes = batch_bytes};
	int r = allocate(&reads, count_sources(plan), err);

	if (r < 0)
		return r;
	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		for (uint32_t s = 0; s < param->source_count; s++)
			if (param->sources[s].bytes)
				reads.order[reads.count++] = (uint64_t)p << 32 | s;
	}
	arrange(&reads);
	*ret_reads = reads;
	return 0;
}

int reads_of(const struct reads_want *wants, size_t count, uint32_t batch_bytes,
	     struct reads *ret_reads, struct wload_error *err)
{
	struct reads reads = {.given = wants, .count = count, .batch_bytes = batch_bytes};
	int r = allocate(&reads, count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		reads.order[i] = i;
	arrange(&reads);
	*ret_reads = reads;
	return 0;
}

void reads_free(struct reads *reads)
{
	free(reads->order);
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
				   .at = reads->count ? want_at(reads, 0).file_offset : 0};
}

/* Gives want i, if it belongs to the run that is being walked. */
static bool in_run(const struct reads_walk *w, size_t i, struct reads_want *ret)
{
	if (i >= w->reads->count)
		return false;
	*ret = want_at(w->reads, i);
	return ret->rows == 1 && ret->shard == want_at(w->reads, w->open).shard;
}

/* Where the batch at `at` ends: at the first byte that nobody wants, where there are too many
 * places, or at limit. */
static uint64_t wanted_until(const struct reads_walk *w, uint64_t limit)
{
	struct reads_want want;
	uint64_t end = w->at;

	for (size_t i = w->open; in_run(w, i, &want) && end < limit; i++) {
		if (want.file_offset > end)
			break;
		if (i - w->open >= READS_PLACES_MAX && want.file_offset > w->at)
			return least(end, want.file_offset);
		if (end_of(&want) > end)
			end = end_of(&want);
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
	struct reads_want want;

	for (size_t i = w->open; in_run(w, i, &want); i++) {
		uint64_t from = want.file_offset > w->at ? want.file_offset : w->at;
		uint64_t until = least(end_of(&want), end);

		if (want.file_offset >= end)
			break;
		if (until <= w->at)
			continue;
		batch->exact &= from == covered;
		covered = until;
		if (add_place(batch, &want, from, until,
			      want.dst_offset + (from - want.file_offset)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void begin_batch(struct reads_batch *batch, const struct reads_walk *w, uint64_t end)
{
	batch->file_offset = w->at;
	batch->bytes = (uint32_t)(end - w->at);
	batch->shard = want_at(w->reads, w->open).shard;
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
		w->at = want_at(w->reads, w->open).file_offset;
}

/* Goes to the next wanted byte at or behind `at`. */
static void advance(struct reads_walk *w)
{
	size_t next = w->open;
	struct reads_want want;
	bool more;

	while ((more = in_run(w, next, &want)) && end_of(&want) <= w->at)
		next++;
	if (!more) {
		w->open = next - 1;
		open_next(w);
		return;
	}
	w->open = next;
	if (want.file_offset > w->at)
		w->at = want.file_offset;
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
	const struct reads_want opened = want_at(w->reads, w->open), *want = &opened;
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
	const struct reads_want opened = want_at(w->reads, w->open), *want = &opened;
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
	return want_at(walk->reads, walk->open).rows > 1 ? next_of_rows(walk, batch)
							 : next_of_run(walk, batch);
}
