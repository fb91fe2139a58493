/* SPDX-License-Identifier: Apache-2.0 */
/* Wants sorted by place on disk are walked once. `open` is the window of wants that reach into the
 * chunk being made: sorted by where they begin, so the window's first ones are dropped once they
 * end before the chunk does. Ranges overlap only where parameters share bytes, so it stays short.
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/pipeline/reads.h"

#define PLACES_MAX ((size_t)INT32_MAX)

static size_t count_wants(const struct wload_plan *plan)
{
	size_t n = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		for (uint32_t s = 0; s < param->source_count; s++)
			n += param->sources[s].rows;
	}
	return n;
}

/* One want a piece. Returns the place after the last. */
static struct reads_want *add_wants(struct reads_want *want, const struct wload_source *source,
				    const struct wload_tensor *tensor, uint32_t param)
{
	uint64_t piece = source->bytes / source->rows;

	for (uint32_t r = 0; piece && r < source->rows; r++)
		*want++ = (struct reads_want){.file_offset = tensor->offset + source->src_offset +
							     r * source->src_stride,
					      .bytes = piece,
					      .dst_offset = source->dst_offset + r * piece,
					      .shard = tensor->shard,
					      .param = param};
	return want;
}

int reads_collect(const struct wload_inventory *inv, const struct wload_plan *plan,
		  struct reads_want **ret_wants, size_t *ret_count, struct wload_error *err)
{
	size_t total = count_wants(plan);
	struct reads_want *wants = calloc(total ? total : 1, sizeof(*wants)), *end = wants;

	if (!wants)
		return wload_fail(err, ENOMEM, "no memory for %zu reads", total);
	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		for (uint32_t s = 0; s < param->source_count; s++) {
			const struct wload_source *source = &param->sources[s];
			struct wload_tensor t = wload_inventory_tensor(inv, source->tensor);

			end = add_wants(end, source, &t, p);
		}
	}
	*ret_wants = wants;
	*ret_count = (size_t)(end - wants);
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

static uint64_t end_of(const struct reads_want *want)
{
	return want->file_offset + want->bytes;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Wants that are still to be placed, and how far the file was covered. */
struct walk {
	const struct reads_want *wants;
	size_t count;
	size_t open; /* the first want that may reach past `at` */
	uint64_t at; /* in the shard of wants[open] */
};

/* How far bytes are wanted without a gap from `at`, up to `limit`. */
static uint64_t wanted_until(const struct walk *w, uint64_t limit)
{
	uint32_t shard = w->wants[w->open].shard;
	uint64_t end = w->at;

	for (size_t i = w->open; i < w->count && w->wants[i].shard == shard && end < limit; i++) {
		if (w->wants[i].file_offset > end)
			break;
		if (end_of(&w->wants[i]) > end)
			end = end_of(&w->wants[i]);
	}
	return least(end, limit);
}

static int add_place(struct reads *reads, const struct reads_want *want, uint64_t from,
		     uint64_t until, uint64_t chunk_offset)
{
	if (reads->place_count >= PLACES_MAX)
		return -E2BIG;
	if (!grow_array(&reads->places, &reads->place_cap, reads->place_count + 1,
			sizeof(*reads->places)))
		return -ENOMEM;
	reads->places[reads->place_count++] =
		(struct reads_place){.dst_offset = want->dst_offset + (from - want->file_offset),
				     .param = want->param,
				     .src_offset = (uint32_t)(from - chunk_offset),
				     .bytes = (uint32_t)(until - from)};
	reads->place_bytes += until - from;
	return 0;
}

/* Places what the open wants have in [at, end). */
static int add_places(struct reads *reads, const struct walk *w, uint64_t end, bool *ret_exact)
{
	uint32_t shard = w->wants[w->open].shard;
	uint64_t covered = w->at;

	*ret_exact = true;
	for (size_t i = w->open; i < w->count && w->wants[i].shard == shard; i++) {
		const struct reads_want *want = &w->wants[i];
		uint64_t from = want->file_offset > w->at ? want->file_offset : w->at;
		uint64_t until = least(end_of(want), end);
		int r;

		if (want->file_offset >= end)
			break;
		if (until <= w->at)
			continue;
		*ret_exact &= from == covered;
		covered = until;
		r = add_place(reads, want, from, until, w->at);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_chunk(struct reads *reads, const struct walk *w, uint64_t end)
{
	size_t first = reads->place_count;
	bool exact;
	int r;

	if (!grow_array(&reads->chunks, &reads->chunk_cap, reads->chunk_count + 1,
			sizeof(*reads->chunks)))
		return -ENOMEM;
	r = add_places(reads, w, end, &exact);
	if (r < 0)
		return r;
	reads->chunks[reads->chunk_count++] =
		(struct reads_chunk){.file_offset = w->at,
				     .bytes = (uint32_t)(end - w->at),
				     .shard = w->wants[w->open].shard,
				     .first = (uint32_t)first,
				     .end = (uint32_t)reads->place_count,
				     .exact = exact};
	reads->read_bytes += end - w->at;
	return 0;
}

/* Goes to the next wanted byte at or after `at`. */
static void advance(struct walk *w, uint32_t shard)
{
	while (w->open < w->count && w->wants[w->open].shard == shard &&
	       end_of(&w->wants[w->open]) <= w->at)
		w->open++;
	if (w->open < w->count &&
	    (w->wants[w->open].shard != shard || w->wants[w->open].file_offset > w->at))
		w->at = w->wants[w->open].file_offset;
}

int reads_build(struct reads_want *wants, size_t count, uint32_t chunk_bytes,
		struct reads *ret_reads, struct wload_error *err)
{
	struct reads reads CLEANUP(reads_free) = {0};
	struct walk w = {.wants = wants, .count = count};

	assert(chunk_bytes && (chunk_bytes & (chunk_bytes - 1)) == 0 && chunk_bytes <= INT32_MAX);
	if (count > 1)
		qsort(wants, count, sizeof(*wants), by_place);
	if (count)
		w.at = wants[0].file_offset;
	while (w.open < count) {
		uint32_t shard = wants[w.open].shard;
		uint64_t limit = (w.at / chunk_bytes + 1) * chunk_bytes;
		uint64_t end = wanted_until(&w, limit);
		int r = add_chunk(&reads, &w, end);

		if (r < 0)
			return wload_fail(err, -r, "no memory for %zu reads in pieces of %u bytes",
					  count, chunk_bytes);
		w.at = end;
		advance(&w, shard);
	}
	*ret_reads = reads;
	reads = (struct reads){0};
	return 0;
}

void reads_free(struct reads *reads)
{
	free(reads->chunks);
	free(reads->places);
	*reads = (struct reads){0};
}
