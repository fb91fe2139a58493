/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_VERIFY_H
#define WLOAD_VERIFY_H

/* A tensor's bytes by a second path: not the descriptor, not the buffer and not the offsets that
 * the load used where there is another way. On a mount that is the tensor's file, on a plain
 * checkpoint a shard's path opened once more. It leaves the page cache as it was. Belongs to one
 * thread. */

#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/checkpoint.h"

struct memory;

struct verify {
	const struct wload_checkpoint *ckpt;
	const char *mount;     /* the mount's root, or NULL */
	struct memory *memory; /* told of every read; may be NULL */
	uint32_t every;	       /* which parameters are compared: each, each second, … */
	int fd;
	uint64_t opened; /* which file fd is: a tensor on a mount, a shard otherwise */
	/* of an open tensor: its shard, and the pages of it that are nobody's but ours */
	int shard_fd;
	uint64_t lo, hi;
};

/* every  1: each parameter is compared */
void verify_open(struct verify *verify, const struct wload_checkpoint *ckpt, const char *mount,
		 uint32_t every);
void verify_close(struct verify *verify);

/* Whether a parameter is one of those that are compared: the first is. Pure. */
static inline bool verify_wanted(const struct verify *verify, uint32_t param)
{
	return param % verify->every == 0;
}

/* Reads n bytes of a tensor from `offset` in it.
 *
 * Returns 0, -ESTALE when the file isn't the one that was loaded or is too short, -EIO, or what
 * opening it said. */
int verify_read(struct verify *verify, uint32_t tensor, uint64_t offset, uint8_t *buf, size_t n,
		struct wload_error *err);

/* The first byte at which two buffers differ; n when they don't. Pure. */
size_t verify_difference(const uint8_t *a, const uint8_t *b, size_t n);

#endif
