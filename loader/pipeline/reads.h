/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_READS_H
#define WLOAD_READS_H

/* What to read, in which order, and where each byte goes. Pure.
 *
 * Wanted byte ranges, in any order, become chunks in disk order: adjacent ranges are read together
 * whatever parameter they belong to, bytes that nobody wants are left out, and a chunk never
 * crosses a multiple of chunk_bytes from the file's beginning, so that it fits a slot of that size
 * even when it is read in whole blocks. Each chunk owns a run of placements; a range that two
 * parameters want is read once and placed twice. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/plan.h"

/* A range of a shard that a parameter wants. */
struct reads_want {
	uint64_t file_offset; /* from the shard file's first byte */
	uint64_t bytes;
	uint64_t dst_offset; /* from the parameter's first byte */
	uint32_t shard;
	uint32_t param;
};

/* Bytes of one chunk and their place in a parameter. */
struct reads_place {
	uint64_t dst_offset;
	uint32_t param;
	uint32_t src_offset; /* from the chunk's first byte */
	uint32_t bytes;
};

struct reads_chunk {
	uint64_t file_offset;
	uint32_t bytes;
	uint32_t shard;
	uint32_t first; /* its placements are [first, end) */
	uint32_t end : 31;
	uint32_t exact : 1; /* they cover it once, in order: it can be scattered while being read */
};

struct reads {
	struct reads_chunk *chunks; /* in disk order */
	size_t chunk_count, chunk_cap;
	struct reads_place *places;
	size_t place_count, place_cap;
	uint64_t read_bytes;  /* of all chunks */
	uint64_t place_bytes; /* of all placements */
};

/* Every range that a plan's parameters want, empty ones left out.
 *
 * ret_wants  allocated, given away; NULL when there are none
 *
 * Returns 0 or -ENOMEM. */
int reads_collect(const struct wload_inventory *inv, const struct wload_plan *plan,
		  struct reads_want **ret_wants, size_t *ret_count, struct wload_error *err);

/* Cuts wants into chunks; sorts them on the way.
 *
 * wants        none of them empty
 * chunk_bytes  largest chunk; a power of two, below 2 GiB
 *
 * Returns 0, -E2BIG over 2^31 placements, -ENOMEM. ret_reads is to be given to reads_free(). */
int reads_build(struct reads_want *wants, size_t count, uint32_t chunk_bytes,
		struct reads *ret_reads, struct wload_error *err);

void reads_free(struct reads *reads);

#endif
