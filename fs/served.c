/* SPDX-License-Identifier: Apache-2.0 */
/* Which inodes have a shard's FUSE pages, and taking them away (served.h). */

#include <errno.h>
#include <stdlib.h>

#include "fs/budget.h"
#include "fs/evict.h"
#include "fs/ledger.h"
#include "fs/node.h"
#include "fs/served.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"

int served_init(struct served *served, const struct own *own, uint32_t shards)
{
	*served = (struct served){
		.first = calloc((size_t)shards + 1, sizeof(*served->first)),
		.next = calloc((size_t)own->count + 1, sizeof(*served->next)),
		.opened = calloc((size_t)own->count + 1, sizeof(*served->opened)),
		.shard = calloc((size_t)shards + 1, sizeof(*served->shard)),
		.dead = calloc((size_t)shards + 1, sizeof(*served->dead)),
	};
	if (!served->first || !served->next || !served->opened || !served->shard || !served->dead)
		return -ENOMEM;
	for (uint32_t i = 0; i < shards; i++)
		served->first[i] = OWN_NONE;
	for (uint32_t i = 0; i < own->count; i++) {
		uint32_t shard = own->entry[i].shard;

		if (shard == OWN_NO_SHARD)
			continue;
		served->next[i] = served->first[shard];
		served->first[shard] = i;
	}
	return 0;
}

void served_free(struct served *served)
{
	free(served->first);
	free(served->next);
	free(served->opened);
	free(served->shard);
	free(served->dead);
	*served = (struct served){0};
}

void served_opened(struct wloadfs *fs, uint32_t entry)
{
	uint32_t shard = fs->own.entry[entry].shard;

	if (shard == OWN_NO_SHARD)
		return;
	atomic_store(&fs->served.opened[entry], true);
	atomic_store(&fs->served.shard[shard], true);
}

bool served_any(const struct wloadfs *fs, uint32_t shard)
{
	return atomic_load(&fs->served.shard[shard]);
}

/* In pieces where READs are booked: those of what is being dropped are never held back. */
static void invalidate(struct wloadfs *fs, struct node node, uint64_t lo, uint64_t hi)
{
	uint64_t piece = fs->budget ? LEDGER_PIECE_BYTES : hi - lo, end;

	for (; lo < hi; lo = end) {
		end = hi - lo > piece ? lo + piece : hi;
		budget_dropping(fs, node, lo, end);
		(void)fuse_lowlevel_notify_inval_inode(fs->session, node_id(node), (off_t)lo,
						       (off_t)(end - lo));
		budget_dropped(fs);
		budget_step(fs);
	}
}

void served_invalidate(struct wloadfs *fs, uint32_t shard, uint64_t lo, uint64_t hi)
{
	if (!served_any(fs, shard) || atomic_load(&fs->stopping))
		return;
	for (uint32_t i = fs->served.first[shard]; i != OWN_NONE; i = fs->served.next[i])
		if (atomic_load(&fs->served.opened[i]))
			invalidate(fs, (struct node){.kind = NODE_OWN, .index = i}, lo, hi);
}

/* Are there dead pages in [lo, hi) of a shard? */
static bool any_dead(struct wloadfs *fs, uint32_t shard, uint64_t lo, uint64_t hi)
{
	const struct wload_shard *s = wload_checkpoint_shard(fs->ckpt, shard);
	struct shard_extent extent = {s->first, s->end, s->bytes};
	uint32_t at = view_tensor_behind(fs, shard, lo);
	struct consumed_run run;
	LOCK_SCOPE(&fs->lock);

	while (at < s->end && consumed_next_run(&fs->claims.consumed, at, s->end, &run)) {
		struct page_range dead;

		if (wload_inventory_tensor(fs->inv, run.first).offset >= hi)
			return false;
		run = consumed_run_around(&fs->claims.consumed, run.first, s->first, s->end);
		dead = consumed_dead_pages(&fs->claims.consumed, run, &extent, fs->page_bytes);
		if (dead.lo < hi && dead.hi > lo)
			return true;
		at = run.end;
	}
	return false;
}

void served_after_read(struct wloadfs *fs, uint32_t entry, uint64_t offset, uint64_t len)
{
	uint32_t shard = fs->own.entry[entry].shard;

	if (shard == OWN_NO_SHARD || !atomic_load(&fs->served.dead[shard]) ||
	    !any_dead(fs, shard, offset, offset + len))
		return;
	if (!fs->budget) /* which counts itself */
		atomic_fetch_add(&fs->reread_bytes, len);
	evict_later(fs, shard);
}
