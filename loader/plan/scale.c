/* SPDX-License-Identifier: Apache-2.0 */
/* Block sizes are told by the shapes: DeepSeek's FP8 has blocks of 128x128 of which the last are
 * short, modelopt's NVFP4 a value for 16 elements (8 bytes) of a row, others one a row. */

#include <errno.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/scale.h"

bool scale_leaf(const char *leaf)
{
	static const char *const leaves[] = {"weight_scale", "weight_scale_inv"};

	for (size_t i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
		if (!strcmp(leaf, leaves[i]))
			return true;
	return false;
}

int scale_weight(const struct draft *draft, uint32_t part, uint32_t *ret_weight,
		 struct wload_error *err)
{
	const struct draft_view *view = draft_view(draft, part);
	const char *name = draft_part(draft, part).name, *leaf = strrchr(name, '.');
	char *weight CLEANUP_FREE = NULL;
	size_t len;

	if (view) {
		*ret_weight = view->weight;
		return view->weight != DRAFT_FREE;
	}
	leaf = leaf ? leaf + 1 : name;
	if (!scale_leaf(leaf))
		return 0;
	len = (size_t)(leaf - name);
	weight = malloc(len + sizeof("weight"));
	if (!weight)
		return wload_fail(err, ENOMEM, "out of memory");
	(void)stpcpy(mempcpy(weight, name, len), "weight");
	return wload_inventory_find(draft->inv, weight, ret_weight) == 0;
}

bool scale_block(uint64_t weight, uint64_t scale, uint64_t *ret_block)
{
	if (scale == 0 || weight == 0) /* a block of no elements is none */
		return false;
	if (weight == scale)
		*ret_block = 1;
	else if (scale == 1)
		*ret_block = weight;
	else if (scale == weight / WLOAD_SCALE_BLOCK + (weight % WLOAD_SCALE_BLOCK != 0))
		*ret_block = WLOAD_SCALE_BLOCK;
	else if (weight % scale == 0)
		*ret_block = weight / scale;
	else
		return false;
	return true;
}

int scale_rest(const struct draft *draft, uint32_t part, uint64_t *ret_rest,
	       struct wload_error *err)
{
	struct wload_tensor scale = draft_part(draft, part), of;
	uint64_t block = 0;
	uint32_t weight;
	int r;

	*ret_rest = 0;
	if (scale.rank == 0)
		return 0;
	r = scale_weight(draft, part, &weight, err);
	if (r <= 0)
		return r;
	of = draft_part(draft, weight);
	if (of.rank == 0 || (scale.rank < of.rank && scale.shape[0] == 1))
		return 0; /* one value for all of it */
	if (scale.shape[0] == 1 && of.shape[0] > 1)
		block = WLOAD_SCALE_BLOCK;
	else if (!scale_block(of.shape[0], scale.shape[0], &block))
		return 0;
	*ret_rest = block ? of.shape[0] % block : 0;
	return 0;
}
