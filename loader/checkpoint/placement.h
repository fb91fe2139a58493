/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_PLACEMENT_H
#define WLOAD_CHECKPOINT_PLACEMENT_H

#include "loader/checkpoint/index.h"

/* What a shard holds beyond what the index says. */
struct placement_tally {
	uint32_t elsewhere; /* tensors that the index places in another shard */
	uint32_t unlisted;  /* tensors that the index does not name */
	const char *elsewhere_name, *unlisted_name; /* the first of each by name; the inventory's */
};

/* Compares what the shards hold with what the index says.
 *
 * inv        sorted, not sealed; its shards are numbered as the index's
 * ret_drop   one byte a tensor, zeroed by the caller; set for those placed elsewhere
 * ret_tally  one a shard, zeroed by the caller
 *
 * Returns 0, or -EBADMSG when the index names a tensor that its shard lacks. */
int placement_compare(const struct wload_inventory *inv, const struct shard_index *index,
		      uint8_t *ret_drop, struct placement_tally *ret_tally,
		      struct wload_error *err);

#endif
