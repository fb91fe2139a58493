/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SLOTS_H
#define WLOAD_SLOTS_H

/* A reader's staging: how large, and which slot is free. Pure.
 *
 * Slots are filled and become free in one order, so a ring is two numbers: the oldest slot whose
 * copies may still run, and how many there are of those. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLOTS_A_READER_MAX 8

struct slots_shape {
	unsigned int readers;
	unsigned int slots;  /* of each reader */
	uint32_t slot_bytes; /* a power of two, at least SLOT_BYTES_MIN */
};

#define SLOT_BYTES_MIN ((uint32_t)64 << 10)
#define SLOT_BYTES_MAX ((uint32_t)4 << 20)

/* What staging is divided for. */
struct slots_machine {
	unsigned int cores;
	uint64_t cache_bytes; /* of the processors' last cache; 0: not known */
	bool copies;	      /* to a device with memory of its own */
	bool cached;	      /* most of what will be read is in the page cache */
};

/* Divides staging among readers.
 *
 * staging_bytes  all of it; 0: the default, two slots a reader, of 2 MiB, or, from the disk to a
 *                device that copies, of 4; halved down to 1 MiB while they all are more than half
 *                the last cache
 * readers        0: one for each core, at least 4 (uncached files are read by waiting), at most
 *                16, or, from the disk to a device that copies, 8
 *
 * On a 16-core H100 machine O_DIRECT moved 48 GB/s with 8 readers and slots of 4 MiB, and 37 with
 * 16 and 2 MiB; out of the page cache 16 with 2 MiB moved 45, and 8 to 12 with 4 (more than a
 * core's own cache) 30 to 47.
 *
 * What is asked for is a bound: too little for that many readers means fewer readers. Returns 0, or
 * -EINVAL when it is not enough for one reader with two slots of SLOT_BYTES_MIN. */
int slots_shape(uint64_t staging_bytes, unsigned int readers, const struct slots_machine *machine,
		struct slots_shape *ret_shape);

/* Bytes of all slots. */
static inline size_t slots_bytes(const struct slots_shape *shape)
{
	return (size_t)shape->readers * shape->slots * shape->slot_bytes;
}

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
