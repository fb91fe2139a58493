/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_OUT_LAYOUT_H
#define WLOAD_OUT_LAYOUT_H

/* Where each parameter goes in a written checkpoint. Pure.
 *
 * Shards hold at most OUT_SHARD_BYTES of parameters, taken in the plan's order; a parameter that is
 * larger has a shard to itself (both as transformers' save_pretrained does). Inside a shard those
 * of wide data types come first, so that each lies at a multiple of its element's width. */

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/plan.h"

#define OUT_SHARD_BYTES	  UINT64_C(5000000000)
#define OUT_FILE_NAME_MAX 64

struct out_layout {
	uint32_t shards;
	uint32_t *first;  /* shard s holds order[first[s]] … order[first[s + 1] - 1] */
	uint32_t *order;  /* parameters in file order */
	uint32_t *shard;  /* of each parameter */
	uint64_t *offset; /* of each parameter, from the end of its shard's header */
};

/* Returns 0 or -ENOMEM; out_layout_free() either way. */
int out_layout_build(const struct wload_plan *plan, uint64_t shard_bytes,
		     struct out_layout *ret_layout, struct wload_error *err);
void out_layout_free(struct out_layout *layout);

/* "model.safetensors", or "model-00002-of-00003.safetensors" for shard 1 of 3. */
void out_layout_file(uint32_t shard, uint32_t shards, char name[OUT_FILE_NAME_MAX]);

/* The text of model.safetensors.index.json: total_size, and the names in bytewise order.
 *
 * Returns 0 or -ENOMEM. */
int out_layout_index(const struct out_layout *layout, const struct wload_plan *plan,
		     char **ret_text, size_t *ret_len, struct wload_error *err);

#endif
