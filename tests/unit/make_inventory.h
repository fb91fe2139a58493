/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MAKE_INVENTORY_H
#define MAKE_INVENTORY_H

/* An inventory of U8 vectors for tests: names and sizes, one after the other in one shard. */

#include <assert.h>

#include "loader/checkpoint/inventory.h"

#define TEST_DATA_OFFSET 1000u

struct made_tensor {
	const char *name;
	uint64_t bytes;
};

static inline struct wload_inventory *make_inventory(const struct made_tensor *made, size_t count)
{
	struct wload_inventory *inv = inventory_new();
	uint64_t at = TEST_DATA_OFFSET;
	uint32_t pair[2];

	assert(inv);
	for (size_t i = 0; i < count; i++) {
		struct wload_tensor t = {.name = made[i].name,
					 .shape = &made[i].bytes,
					 .rank = 1,
					 .dtype = WLOAD_DTYPE_U8,
					 .offset = at,
					 .bytes = made[i].bytes};
		int r = inventory_add(inv, &t, NULL);

		assert(r == 0);
		(void)r;
		at += made[i].bytes;
	}
	if (inventory_seal(inv, pair, NULL) < 0)
		assert(!"sealed");
	return inv;
}

#endif
