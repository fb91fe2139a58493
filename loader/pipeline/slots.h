/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SLOTS_H
#define WLOAD_SLOTS_H

/* A reader's staging: how large, and which slot is free. Pure.
 *
 * Slots are filled and become free in one order, so a ring is two numbers: the oldest slot whose
 * copies may still run, and how many there are of those. */

#include <stdbool.h>
#include <stdint.h>

#define SLOTS_A_READER_MAX 8

struct slots_shape {
	unsigned int readers;
	unsigned int slots;  /* of each reader */
	uint32_t slot_bytes; /* a power of two, at least SLOT_BYTES_MIN */
};

#define SLOT_BYTES_MIN ((uint32_t)64 << 10)
#define SLOT_BYTES_MAX ((uint32_t)2 << 20)

/* Divides staging among readers.
 *
 * staging_bytes  all of it; 0: the default, three slots of 1 MiB a reader (on a GPU machine 1-2 MiB
 *                moved 37-43 GB/s, 8 MiB 25 and 512 KiB 24: the staging must stay in the cache)
 * readers        0: one for each of `cores`, at least 2, at most 16, where that machine's rate
 * stopped growing
 *
 * What is asked for is a bound: too little for that many readers means fewer readers. Returns 0, or
 * -EINVAL when it is not enough for one reader with two slots of SLOT_BYTES_MIN. */
int slots_shape(uint64_t staging_bytes, unsigned int readers, unsigned int cores,
		struct slots_shape *ret_shape);

struct slots {
	unsigned int count;
	unsigned int oldest;
	unsigned int busy;
	uint32_t chunk[SLOTS_A_READER_MAX]; /* what each busy slot holds */
};

static inline bool slots_full(const struct slots *slots)
{
	return slots->busy == slots->count;
}

/* The next free slot becomes busy; it must not be full. */
unsigned int slots_claim(struct slots *slots, uint32_t chunk);

/* The oldest busy slot becomes free; there must be one.
 *
 * Returns its number; its chunk stays in slots->chunk. */
unsigned int slots_retire(struct slots *slots);

#endif
