/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_NAME_ORDER_H
#define WLOAD_CHECKPOINT_NAME_ORDER_H

#include <stddef.h>
#include <stdint.h>

struct name_ref {
	const char *name; /* borrowed */
	uint32_t id;	  /* the caller's */
	uint64_t word;	  /* private */
};

/* Sorts refs by name, bytewise; equal names by id. */
void name_order_sort(struct name_ref *refs, size_t count);

#endif
