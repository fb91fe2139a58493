/* SPDX-License-Identifier: Apache-2.0 */
/* As TensorRT-LLM shares out rows (modules/linear.py, load_weight_shard), and DeepSeek's MLPs that
 * are no routed experts (modeling_deepseekv3.py, _compute_shared_expert_tp_size): there no rank has
 * less than another, and none part of a block, so that few blocks go to fewer ranks. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/shares.h"

#define NVFP4_BLOCK 16 /* elements of a row that share a scale; two are a byte */

struct split_range shares_range(uint64_t size, uint32_t tp, uint32_t rank)
{
	uint64_t share = size / tp + (size % tp != 0);
	struct split_range range = {0, size};

	if (size <= 1)
		return range;
	range.start = rank <= size / share ? rank * share : size;
	range.length = size - range.start < share ? size - range.start : share;
	return range;
}

struct split_range shares_blocks(uint64_t size, uint64_t unit, uint32_t tp, uint32_t rank)
{
	uint64_t blocks, share, start, end;

	if (unit <= 1)
		return shares_range(size, tp, rank);
	blocks = size / unit + (size % unit != 0);
	share = blocks / tp + (blocks % tp != 0);
	start = share && rank > blocks / share ? blocks : rank * share;
	end = blocks - start < share ? blocks : start + share;
	start = start <= size / unit ? start * unit : size;
	end = end <= size / unit ? end * unit : size;
	return (struct split_range){start, end - start};
}

/* Finds what is beside a tensor in its module.
 *
 * Returns 1, 0 when there is none, or -ENOMEM. */
static int beside(const struct draft *draft, const char *name, const char *leaf,
		  struct wload_tensor *ret, struct wload_error *err)
{
	const char *dot = strrchr(name, '.');
	size_t len = dot ? (size_t)(dot + 1 - name) : 0;
	char *other CLEANUP_FREE = malloc(len + strlen(leaf) + 1);
	uint32_t tensor;

	if (!other)
		return wload_fail(err, ENOMEM, "out of memory");
	(void)stpcpy(mempcpy(other, name, len), leaf);
	if (wload_inventory_find(draft->inv, other, &tensor) < 0)
		return 0;
	*ret = wload_inventory_tensor(draft->inv, tensor);
	return 1;
}

/* How much of a weight's dimension is a block: as the inner size of the layer is quantised in the
 * layer behind this one, that is the same for rows. */
static int find_block(const struct draft *draft, uint32_t part, uint32_t dim, uint64_t *ret_block,
		      struct wload_error *err)
{
	const char *name = wload_inventory_tensor(draft->inv, draft_tensor(draft, part)).name;
	struct wload_tensor weight, scale;
	int r = beside(draft, name, "weight_scale_inv", &scale, err);

	*ret_block = r > 0 ? WLOAD_SCALE_BLOCK : 1;
	if (r != 0)
		return r < 0 ? r : 0;
	r = beside(draft, name, "weight_scale", &scale, err);
	if (r > 0 && scale.rank == 2)
		r = beside(draft, name, "weight", &weight, err);
	else if (r > 0)
		r = 0;
	if (r > 0 && weight.dtype == WLOAD_DTYPE_U8)
		*ret_block = dim ? NVFP4_BLOCK / 2 : NVFP4_BLOCK;
	return r < 0 ? r : 0;
}

static uint64_t divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

int shares_divisor(const struct split *split, uint32_t part, uint32_t dim,
		   struct split_range *ret_range, struct wload_error *err)
{
	struct wload_tensor t = draft_part(split->draft, part);
	uint64_t size = t.shape[dim], block, ranks;
	int r = find_block(split->draft, part, dim, &block, err);

	if (r < 0)
		return r;
	if (size % block != 0)
		return split_fail(split, t.name, EINVAL, err,
				  "has dimension %" PRIu32 " of %" PRIu64
				  ", which are no whole blocks of %" PRIu64,
				  dim, size, block);
	ranks = size ? divisor(size / block, split->tp) : 1;
	ret_range->length = size / ranks;
	ret_range->start = split->rank % ranks * ret_range->length;
	return 0;
}
