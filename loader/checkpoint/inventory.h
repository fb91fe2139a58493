/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_INVENTORY_H
#define WLOAD_CHECKPOINT_INVENTORY_H

/* How an inventory is made: new, add …, (sort, drop …,) seal. Until it is sealed it belongs to one
 * thread; indexes change with sort and drop. */

#include "wloadfs/tensor.h"

#define INVENTORY_TENSORS_MAX (UINT32_MAX - 1)
#define INVENTORY_SHARDS_MAX  (1u << 24) /* the width of a field; far over any real checkpoint */

/* Returns NULL when memory is short. */
struct wload_inventory *inventory_new(void);

/* NULL is fine. */
void inventory_free(struct wload_inventory *inv);

/* Adds a copy of the tensor; its shard must be below INVENTORY_SHARDS_MAX.
 *
 * Returns 0, -E2BIG over INVENTORY_TENSORS_MAX tensors, 4 GiB of names, 2^32 dimensions or 2^64
 * bytes of tensors, or -ENOMEM. */
int inventory_add(struct wload_inventory *inv, const struct wload_tensor *tensor,
		  struct wload_error *err);

/* Puts the tensors into disk order and makes the order of names; from here on the public functions
 * work. A name may occur twice: then it is in the order of names twice, in disk order.
 *
 * Returns 0 or -ENOMEM. */
int inventory_sort(struct wload_inventory *inv, struct wload_error *err);

/* After inventory_sort(): leaves out every tensor for which drop, by index, is nonzero.
 *
 * Returns 0, or -ENOMEM with nothing left out. */
int inventory_drop(struct wload_inventory *inv, const uint8_t *drop, struct wload_error *err);

/* Sorts unless that was done, checks that no name occurs twice, gives spare memory back.
 *
 * ret_pair  on -EEXIST: the indexes of two tensors of one name, in disk order
 *
 * Returns 0, -EEXIST without err filled, or -ENOMEM. */
int inventory_seal(struct wload_inventory *inv, uint32_t ret_pair[2], struct wload_error *err);

#endif
