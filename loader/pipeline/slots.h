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
#define SLOT_BYTES_MAX ((uint32_t)4 << 20)

/* Divides staging among readers.
 *
 * staging_bytes  all of it; 0: the default, two slots of 2 MiB a reader. On a 16-core H100 machine
 *                that moved 47 GB/s out of the page cache, of the 52 that copies of 16 MiB reach;
 *                three slots of 1 MiB 44, for a copy of 1 MiB costs the device more; three of 2
 *                MiB no more than two. 64 MiB at most, which stays in that machine's last cache
 * readers        0: one for each of `cores`, at least 4 (uncached files are read by waiting), at
 *                most 16, where that machine's rate stopped growing
 *
 * What is asked for is a bound: too little for that many readers means fewer readers. Returns 0, or
 * -EINVAL when it is not enough for one reader with two slots of SLOT_BYTES_MIN. */
int slots_shape(uint64_t staging_bytes, unsigned int readers, unsigned int cores,
		struct slots_shape *ret_shape);

struct slots {
	unsigned int count;
	unsigned int oldest;
	unsigned int busy;
};

static inline bool slots_full(const struct slots *slots)
{
	return slots->busy == slots->count;
}

/* The next free slot becomes busy; it must not be full. */
unsigned int slots_claim(struct slots *slots);

/* The oldest busy slot becomes free; there must be one. Returns its number. */
unsigned int slots_retire(struct slots *slots);

#endif
