/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_READS_H
#define WLOAD_READS_H

/* What to read, in which order, and where each byte goes. Pure.
 *
 * Wanted byte ranges, sorted by their place on disk, are walked once, batch by batch; a batch is
 * what one reader reads at a time. No list of batches is ever made: what a walk keeps does not grow
 * with the checkpoint's bytes.
 *
 *   a run of ranges    adjacent ones are read together whatever parameter they belong to, bytes
 *                      that nobody wants are left out, a range that two parameters want is read
 *                      once and placed twice. A batch never crosses a multiple of batch_bytes
 *                      from the file's beginning.
 *   pieces of rows     (a row-parallel slice) a batch is as many rows as fit, gaps included; the
 *                      reader decides whether to read the gaps. They are read by themselves:
 *                      ranges before them and behind them are different runs.
 *
 * Either way a batch fits a slot of batch_bytes when it is read in whole blocks of up to
 * batch_bytes / 16. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/plan.h"

/* A range of a shard, or pieces of it at a stride, that a parameter wants. */
struct reads_want {
	uint64_t file_offset; /* from the shard file's first byte */
	uint64_t bytes;	      /* of all pieces together */
	uint64_t dst_offset;  /* from the parameter's first byte; pieces lie dense there */
	uint32_t shard;
	uint32_t param;
	uint32_t rows;	 /* equal pieces; 0 is 1 */
	uint64_t stride; /* from piece to piece in the file, at least a piece; when rows > 1 */
};

/* Bytes of one batch and their place in a parameter. */
struct reads_place {
	uint64_t dst_offset;
	uint32_t param;
	uint32_t src_offset; /* from the batch's first byte */
	uint32_t bytes;
};

/* A run of ranges with more places than this ends early: it bounds what a batch takes. */
#define READS_PLACES_MAX 1024

struct reads_batch {
	uint64_t file_offset;
	uint32_t bytes; /* in the file, gaps between rows included */
	uint32_t shard;
	uint32_t rows;	 /* over 1: there is one place, of all pieces */
	uint32_t stride; /* when rows > 1 */
	bool exact;	 /* places cover it once, in order: it can be scattered while being read */
	struct reads_place *places; /* the batch's own; reads_batch_free() */
	size_t place_count, place_cap;
};

/* Bytes of a batch that somebody wants. */
static inline uint32_t reads_batch_wanted(const struct reads_batch *batch)
{
	return batch->rows > 1 ? batch->places[0].bytes : batch->bytes;
}

/* Bytes of one of its pieces. */
static inline uint32_t reads_batch_piece(const struct reads_batch *batch)
{
	return reads_batch_wanted(batch) / batch->rows;
}

void reads_batch_free(struct reads_batch *batch);

/* Wants are worked out of the plan when they are looked at: 8 bytes each are kept, their order,
 * where a checkpoint has 180,364. */
struct reads {
	uint64_t *order; /* owned */
	size_t count;
	const struct wload_inventory *inv;
	const struct wload_plan *plan;	/* order: parameter << 32 | source */
	const struct reads_want *given; /* order: index; NULL with a plan */
	uint32_t batch_bytes;
	uint64_t read_bytes; /* wanted bytes of all batches */
};

/* Every range that a plan's parameters want, empty ones left out, made ready to be walked.
 *
 * inv, plan    borrowed until reads_free()
 * batch_bytes  largest batch; a power of two from 16 to 1 GiB
 *
 * Returns 0 or -ENOMEM. ret_reads is to be given to reads_free(). */
int reads_build(const struct wload_inventory *inv, const struct wload_plan *plan,
		uint32_t batch_bytes, struct reads *ret_reads, struct wload_error *err);

/* The same of given wants, none of them empty; borrowed as a plan is. */
int reads_of(const struct reads_want *wants, size_t count, uint32_t batch_bytes,
	     struct reads *ret_reads, struct wload_error *err);

void reads_free(struct reads *reads);

/* How far a walk is. */
struct reads_walk {
	const struct reads *reads;
	size_t open;  /* the first want that is not wholly behind */
	uint64_t at;  /* in its shard */
	uint32_t row; /* of its rows */
};

struct reads_walk reads_walk(const struct reads *reads);

/* Takes the next batch.
 *
 * batch  zeroed, or an earlier one, whose places are used again
 *
 * Returns 1, 0 at the end, or -ENOMEM. */
int reads_next(struct reads_walk *walk, struct reads_batch *batch);

#endif
