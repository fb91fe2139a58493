/* SPDX-License-Identifier: Apache-2.0 */
/* Rows go by shares, not by counts, so that the same rule fits a weight, its bias and its scales:
 * of 6 heads' rows in one matrix, or 6 blocks' values, 4 are of the queries. */

#include <errno.h>
#include <string.h>

#include "loader/plan/packed.h"

static uint64_t divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static uint64_t number(struct packed *packed, const struct rules_share *share,
		       const struct config *config)
{
	uint64_t n = share->number;

	if (share->key && (!config_count(config, share->key, &n) || n == 0)) {
		packed->lacks = share->key;
		return 1;
	}
	return n;
}

void packed_init(struct packed *packed, const struct rules_packed *rule,
		 const struct config *config)
{
	uint64_t common = 0;
	size_t i;

	*packed = (struct packed){.rule = rule, .each = 1};
	for (i = 0; i < rule->share_count; i++) {
		packed->shares[i] = number(packed, &rule->shares[i], config);
		common = divisor(packed->shares[i], common);
	}
	for (i = 0; i < rule->share_count; i++) {
		packed->shares[i] /= common;
		packed->total += packed->shares[i];
	}
	if (rule->each.key || rule->each.number)
		packed->each = number(packed, &rule->each, config);
}

/* Bytes of a row; 0: they are no whole ones. */
static uint64_t row_bytes(const struct wload_tensor *tensor)
{
	uint64_t bits = wload_dtype_describe(tensor->dtype)->bits;

	if (tensor->bytes == 0)
		return 0;
	for (uint32_t i = 1; i < tensor->rank; i++)
		bits *= tensor->shape[i]; /* at most the tensor's */
	return bits % 8 ? 0 : bits / 8;
}

bool packed_fits(const struct packed *packed, const struct wload_tensor *tensor)
{
	uint64_t rows = tensor->rank ? tensor->shape[0] : 0;

	return !packed->lacks && rows && rows % packed->each == 0 &&
	       rows / packed->each % packed->total == 0 && row_bytes(tensor);
}

int packed_view(struct draft *draft, const struct packed *packed, uint32_t tensor, size_t index,
		const char *name, uint32_t *ret_part, struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(draft->inv, tensor);
	uint64_t *shape = arena_take(draft->arena, t.rank * sizeof(*shape));
	uint64_t unit = t.shape[0] / packed->each / packed->total, bytes = row_bytes(&t),
		 before = 0;
	struct draft_view view = {.tensor = tensor, .weight = DRAFT_FREE, .count = packed->each};

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, t.shape, t.rank * sizeof(*shape));
	for (size_t i = 0; i < index; i++)
		before += packed->shares[i];
	shape[0] = unit * packed->shares[index] * packed->each;
	view.offset = unit * before * bytes;
	view.piece = unit * packed->shares[index] * bytes;
	view.stride = unit * packed->total * bytes;
	view.part = t;
	view.part.name = name;
	view.part.shape = shape;
	view.part.bytes = view.piece * view.count;
	return draft_add_view(draft, &view, ret_part, err);
}
