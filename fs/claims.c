/* SPDX-License-Identifier: Apache-2.0 */
/* Counts claims (claims.h). Invariant: a tensor is consumed exactly when every rank dropped it. */

#include <errno.h>
#include <stdlib.h>

#include "fs/claims.h"

int claims_init(struct claims *claims, const struct wload_inventory *inv, uint32_t ranks)
{
	size_t tensors = wload_inventory_count(inv);
	int r;

	*claims = (struct claims){.ranks = ranks};
	r = consumed_init(&claims->consumed, inv);
	if (r < 0 || ranks == 0)
		return r;
	claims->dropped = calloc(ranks, sizeof(*claims->dropped));
	claims->left = malloc((tensors + 1) * sizeof(*claims->left));
	if (!claims->dropped || !claims->left)
		return -ENOMEM;
	for (size_t t = 0; t < tensors; t++)
		claims->left[t] = (uint16_t)ranks;
	for (uint32_t i = 0; r == 0 && i < ranks; i++)
		r = consumed_init(&claims->dropped[i], inv);
	return r;
}

void claims_free(struct claims *claims)
{
	for (uint32_t i = 0; claims->dropped && i < claims->ranks; i++)
		consumed_free(&claims->dropped[i]);
	free(claims->dropped);
	free(claims->left);
	consumed_free(&claims->consumed);
	*claims = (struct claims){0};
}

const struct consumed *claims_of(const struct claims *claims, uint32_t who)
{
	return who == CLAIMS_ROOT ? &claims->consumed : &claims->dropped[who - 1];
}

static bool drop_of_rank(struct claims *claims, uint32_t rank, uint32_t tensor)
{
	if (!consumed_set(&claims->dropped[rank], tensor))
		return false;
	claims->left[tensor]--;
	return true;
}

enum claims_change claims_drop(struct claims *claims, uint32_t who, uint32_t tensor)
{
	if (who != CLAIMS_ROOT) {
		if (!drop_of_rank(claims, who - 1, tensor))
			return CLAIMS_SAME;
		if (claims->left[tensor])
			return CLAIMS_DROPPED;
	}
	if (!consumed_set(&claims->consumed, tensor))
		return CLAIMS_SAME;
	for (uint32_t i = 0; claims_left(claims, tensor) && i < claims->ranks; i++)
		(void)drop_of_rank(claims, i, tensor);
	return CLAIMS_CONSUMED;
}

static bool restore_of_rank(struct claims *claims, uint32_t rank, uint32_t tensor)
{
	if (!consumed_clear(&claims->dropped[rank], tensor))
		return false;
	claims->left[tensor]++;
	return true;
}

bool claims_restore(struct claims *claims, uint32_t who, uint32_t tensor)
{
	bool changed;

	if (who != CLAIMS_ROOT && !restore_of_rank(claims, who - 1, tensor))
		return false;
	changed = consumed_clear(&claims->consumed, tensor);
	if (who != CLAIMS_ROOT)
		return true;
	for (uint32_t i = 0; i < claims->ranks; i++)
		changed |= restore_of_rank(claims, i, tensor);
	return changed;
}

uint32_t claims_left(const struct claims *claims, uint32_t tensor)
{
	if (claims->ranks)
		return claims->left[tensor];
	return consumed_has(&claims->consumed, tensor) ? 0 : 1;
}
