/* SPDX-License-Identifier: Apache-2.0 */
/* The index against the headers: both are in the order of names, so one walk along both decides
 * every tensor. A name may stand in several shards' headers; the index says which one counts. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "loader/checkpoint/placement.h"

struct walk {
	const struct wload_inventory *inv;
	uint32_t rank, count; /* in the order of names */
	uint8_t *drop;
	struct placement_tally *tally;
};

static struct wload_tensor tensor_at(const struct walk *w, uint32_t rank)
{
	return wload_inventory_tensor(w->inv, wload_inventory_by_name(w->inv, rank));
}

/* Passes the tensors whose names sort before name (all, if it is NULL): the index lacks them. */
static void pass_unlisted(struct walk *w, const char *name)
{
	struct wload_tensor tensor;
	struct placement_tally *tally;

	for (; w->rank < w->count; w->rank++) {
		tensor = tensor_at(w, w->rank);
		if (name && strcmp(tensor.name, name) >= 0)
			return;
		tally = &w->tally[tensor.shard];
		if (tally->unlisted++ == 0)
			tally->unlisted_name = tensor.name;
	}
}

/* Passes the tensors called name; returns whether one is in this shard. */
static bool pass_listed(struct walk *w, const char *name, uint32_t shard)
{
	struct wload_tensor tensor;
	struct placement_tally *tally;
	bool found = false;

	for (; w->rank < w->count; w->rank++) {
		tensor = tensor_at(w, w->rank);
		if (strcmp(tensor.name, name) != 0)
			break;
		if (tensor.shard == shard) {
			found = true;
			continue;
		}
		w->drop[wload_inventory_by_name(w->inv, w->rank)] = 1;
		tally = &w->tally[tensor.shard];
		if (tally->elsewhere++ == 0)
			tally->elsewhere_name = tensor.name;
	}
	return found;
}

int placement_compare(const struct wload_inventory *inv, const struct shard_index *index,
		      uint8_t *ret_drop, struct placement_tally *ret_tally, struct wload_error *err)
{
	struct walk w = {inv, 0, wload_inventory_count(inv), ret_drop, ret_tally};
	const char *name;
	uint32_t shard;
	size_t i;

	for (i = 0; i < index->count; i++) {
		name = index_name(index, i);
		shard = index->entries[i].shard;
		pass_unlisted(&w, name);
		if (!pass_listed(&w, name, shard))
			return wload_fail(
				err, EBADMSG,
				"the index places tensor '%.300s' in '%.300s', which lacks it",
				name, index->shards[shard]);
	}
	pass_unlisted(&w, NULL);
	return 0;
}
