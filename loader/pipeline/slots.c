/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: sizes and the ring's two numbers. */

#include <assert.h>
#include <errno.h>

#include "loader/pipeline/slots.h"

#define SLOTS_DEFAULT	  2
#define SLOT_BYTES_PLAIN  ((uint32_t)2 << 20)
#define SLOT_BYTES_LEAST  ((uint32_t)1 << 20)
#define READERS_MIN	  4
#define READERS_MAX	  16
#define READERS_DISK	  8
#define READERS_ASKED_MAX 256

static unsigned int choose_readers(unsigned int readers, const struct slots_machine *machine)
{
	unsigned int most = machine->copies && !machine->cached ? READERS_DISK : READERS_MAX;

	if (readers)
		return readers < READERS_ASKED_MAX ? readers : READERS_ASKED_MAX;
	if (machine->cores < READERS_MIN)
		return READERS_MIN;
	return machine->cores < most ? machine->cores : most;
}

static uint32_t choose_slot(unsigned int readers, const struct slots_machine *machine)
{
	uint32_t bytes = machine->copies && !machine->cached ? SLOT_BYTES_MAX : SLOT_BYTES_PLAIN;

	while (bytes > SLOT_BYTES_LEAST && machine->cache_bytes &&
	       (uint64_t)readers * SLOTS_DEFAULT * bytes > machine->cache_bytes / 2)
		bytes /= 2;
	return bytes;
}

/* The largest power of two that is at most bytes, within a slot's bounds. */
static uint32_t slot_size(uint64_t bytes)
{
	uint32_t size = SLOT_BYTES_MAX;

	while (size > SLOT_BYTES_MIN && size > bytes)
		size /= 2;
	return size;
}

int slots_shape(uint64_t staging_bytes, unsigned int readers, const struct slots_machine *machine,
		struct slots_shape *ret_shape)
{
	uint64_t most =
		staging_bytes / (2 * (uint64_t)SLOT_BYTES_MIN); /* readers it is enough for */

	readers = choose_readers(readers, machine);
	if (staging_bytes == 0) {
		*ret_shape =
			(struct slots_shape){readers, SLOTS_DEFAULT, choose_slot(readers, machine)};
		return 0;
	}
	if (most == 0)
		return -EINVAL;
	readers = most < readers ? (unsigned int)most : readers;
	ret_shape->readers = readers;
	ret_shape->slots = SLOTS_DEFAULT;
	ret_shape->slot_bytes = slot_size(staging_bytes / readers / ret_shape->slots);
	return 0;
}

unsigned int slots_claim(struct slots *slots)
{
	unsigned int slot = (slots->oldest + slots->busy) % slots->count;

	assert(!slots_full(slots));
	slots->busy++;
	return slot;
}

unsigned int slots_retire(struct slots *slots)
{
	unsigned int slot = slots->oldest;

	assert(slots->busy);
	slots->oldest = (slot + 1) % slots->count;
	slots->busy--;
	return slot;
}
