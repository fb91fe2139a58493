/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_WORLD_H
#define PLAN_WORLD_H

/* Inventories for tests of the plan, from text: a line a tensor, in disk order,
 *
 *   NAME DTYPE [d,d,…]
 *
 * back to back in shard 0. What does not parse ends the test: it is the test that is wrong. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/inventory.h"
#include "wloadfs/plan.h"

#define WORLD_RANK_MAX 8

__attribute__((noreturn)) static inline void world_wrong(const char *what)
{
	printf("Bail out! %s\n", what);
	exit(1);
}

/* Adds a tensor at *offset, and moves that past it. */
static inline void world_add(struct wload_inventory *inv, const char *name, const char *dtype,
			     const uint64_t *shape, uint32_t rank, uint64_t *offset)
{
	struct wload_tensor t = {.name = name, .shape = shape, .rank = rank, .offset = *offset};
	uint32_t i;

	if (wload_dtype_parse(dtype, &t.dtype) < 0)
		world_wrong(dtype);
	t.bytes = wload_dtype_describe(t.dtype)->bits;
	for (i = 0; i < rank; i++)
		t.bytes *= shape[i]; /* wraps with a 0 behind it, as in the format */
	t.bytes /= 8;
	if (inventory_add(inv, &t, NULL) < 0)
		world_wrong(name);
	*offset += t.bytes;
}

static inline struct wload_inventory *world_sealed(struct wload_inventory *inv)
{
	uint32_t pair[2];

	if (inventory_seal(inv, pair, NULL) < 0)
		world_wrong("the inventory does not seal");
	return inv;
}

static inline struct wload_inventory *world_inventory(const char *lines)
{
	struct wload_inventory *inv = inventory_new();
	char *text = strdup(lines), *line, *next, *name, *dtype, *dim;
	uint64_t shape[WORLD_RANK_MAX], offset = 0;
	uint32_t rank;

	for (line = text; (next = strchr(line, '\n')); line = next + 1) {
		*next = '\0';
		name = strtok(line, " ");
		dtype = strtok(NULL, " ");
		for (rank = 0; (dim = strtok(NULL, "[,]")) && rank < WORLD_RANK_MAX; rank++)
			shape[rank] = strtoull(dim, NULL, 10);
		if (!dtype)
			world_wrong(lines);
		world_add(inv, name, dtype, shape, rank, &offset);
	}
	free(text);
	return world_sealed(inv);
}

/* Whether a text is what it should be; tells both where not. */
static inline bool world_same(const char *what, const char *got, const char *want)
{
	if (!strcmp(got, want))
		return true;
	printf("# %s:\n%s# wanted:\n%s", what, got, want);
	return false;
}

#endif
