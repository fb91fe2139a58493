/* SPDX-License-Identifier: Apache-2.0 */
/* A list of blocks, each filled from its start; only the newest has room left that is used. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loader/plan/arena.h"

#define ARENA_BLOCK_BYTES ((size_t)16 << 10)

struct arena_block {
	struct arena_block *older;
	size_t used, bytes; /* of space */
	uint64_t space[];
};

static struct arena_block *block_new(size_t bytes, struct arena_block *older)
{
	struct arena_block *b;

	if (bytes < ARENA_BLOCK_BYTES)
		bytes = ARENA_BLOCK_BYTES;
	b = malloc(sizeof(*b) + bytes);
	if (!b)
		return NULL;
	b->older = older;
	b->used = 0;
	b->bytes = bytes;
	return b;
}

void *arena_take(struct arena *arena, size_t bytes)
{
	struct arena_block *b = arena->newest;
	void *piece;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + 7) & ~(size_t)7;
	if (!b || b->bytes - b->used < bytes) {
		b = block_new(bytes, arena->newest);
		if (!b)
			return NULL;
		arena->newest = b;
	}
	piece = (char *)b->space + b->used;
	b->used += bytes;
	return piece;
}

char *arena_copy(struct arena *arena, const char *text)
{
	size_t bytes = strlen(text) + 1;
	char *copy = arena_take(arena, bytes);

	return copy ? memcpy(copy, text, bytes) : NULL;
}

void arena_free(struct arena *arena)
{
	struct arena_block *b = arena->newest, *older;

	for (; b; b = older) {
		older = b->older;
		free(b);
	}
	arena->newest = NULL;
}
