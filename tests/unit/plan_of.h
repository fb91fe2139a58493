/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_OF_H
#define PLAN_OF_H

/* A plan of one parameter a tensor, for tests of what works on plans. */

#include "loader/checkpoint/inventory.h"
#include "wloadfs/plan.h"

struct plan_of {
	struct wload_inventory *inv;
	struct wload_plan *plan;
};

struct plan_of_tensor {
	const char *name;
	enum wload_dtype dtype;
	uint64_t elements;
};

static inline void plan_of_free(struct plan_of *made)
{
	wload_plan_free(made->plan);
	inventory_free(made->inv);
}

/* Lays the tensors out one behind the other in one shard. */
static inline int plan_of(const struct plan_of_tensor *tensors, size_t count, struct plan_of *made,
			  struct wload_error *err)
{
	uint64_t offset = 8;
	uint32_t pair[2];
	int r = 0;

	*made = (struct plan_of){.inv = inventory_new()};
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct plan_of_tensor *t = &tensors[i];
		uint64_t bytes = t->elements * wload_dtype_describe(t->dtype)->bits / 8;

		r = inventory_add(made->inv,
				  &(struct wload_tensor){.name = t->name,
							 .shape = &t->elements,
							 .rank = 1,
							 .dtype = t->dtype,
							 .offset = offset,
							 .bytes = bytes},
				  err);
		offset += bytes;
	}
	if (r == 0)
		r = inventory_seal(made->inv, pair, err);
	return r < 0 ? r : wload_plan_build(made->inv, NULL, NULL, &made->plan, err);
}

#endif
