/* SPDX-License-Identifier: Apache-2.0 */
/* Which parameters a tree has (see fused.h). */

#include <errno.h>
#include <stdlib.h>

#include "fs/fused.h"
#include "loader/base/cleanup.h"

#define WORD_BITS 64u

int fused_init(struct wloadfs *fs)
{
	fs->fused = calloc(fs_claimants(fs), sizeof(*fs->fused));
	return fs->fused ? 0 : -ENOMEM;
}

static void free_tree(struct fused_tree *tree)
{
	if (!tree)
		return;
	free(tree->removed);
	free(tree->file);
	free(tree);
}

void fused_free(struct wloadfs *fs)
{
	for (uint32_t who = 0; fs->fused && who < fs_claimants(fs); who++) {
		free_tree(atomic_load(&fs->fused[who].tree));
		free(atomic_load(&fs->fused[who].opened));
	}
	free(fs->fused);
}

/* ---- looking ---- */

/* Zeroed pages that nobody touches take no memory. */
static struct fused_tree *new_tree(uint32_t params)
{
	struct fused_tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return NULL;
	tree->params = params;
	tree->removed = calloc(params / WORD_BITS + 1, sizeof(*tree->removed));
	tree->file = calloc((size_t)params + 1, sizeof(*tree->file));
	if (tree->removed && tree->file)
		return tree;
	free_tree(tree);
	return NULL;
}

/* The tree's state, begun by whoever looks first. NULL when memory is short. */
static struct fused_tree *tree_of(const struct wloadfs *fs, uint32_t who, uint32_t params)
{
	struct fused_tree *tree = atomic_load(&fs->fused[who].tree), *none = NULL;

	if (tree)
		return tree;
	tree = new_tree(params);
	if (!tree || atomic_compare_exchange_strong(&fs->fused[who].tree, &none, tree))
		return tree;
	free_tree(tree);
	return none;
}

int fused_look(const struct wloadfs *fs, uint32_t who, struct fused_look *ret)
{
	uint32_t slot = plans_fused_slot(fs, who);
	struct fused_look look = {.fs = fs, .who = who};
	int r = plans_get(fs, slot, &look.planned);

	*ret = (struct fused_look){0};
	if (r < 0)
		return r;
	look.tree = tree_of(fs, who, look.planned.shape->index.params);
	*ret = look;
	return look.tree ? 0 : -ENOMEM;
}

void fused_done(struct fused_look *look)
{
	if (look->fs)
		plans_put(look->fs, look->planned.slot);
	*look = (struct fused_look){0};
}

int made_look(const struct wloadfs *fs, uint32_t who, struct made_look *ret)
{
	struct made_look look = {.fs = fs, .opened = atomic_load(&fs->fused[who].opened)};
	int r = plans_get(fs, plans_made_slot(fs, who), &look.planned);
	_Atomic bool *fresh, *none = NULL;

	*ret = (struct made_look){0};
	if (r < 0)
		return r;
	*ret = look;
	if (look.opened)
		return 0;
	fresh = calloc(made_files(&look.planned.shape->made), sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	if (!atomic_compare_exchange_strong(&fs->fused[who].opened, &none, fresh)) {
		free(fresh);
		fresh = none;
	}
	ret->opened = fresh;
	return 0;
}

void made_done(struct made_look *look)
{
	if (look->fs)
		plans_put(look->fs, look->planned.slot);
	*look = (struct made_look){0};
}

bool fused_shows(const struct fused_look *look, uint32_t param)
{
	const struct wload_param *p = wload_plan_param(look->planned.plan, param);
	uint64_t word = atomic_load(&look->tree->removed[param / WORD_BITS]);

	if (word >> param % WORD_BITS & 1)
		return false;
	for (uint32_t s = 0; s < p->source_count; s++)
		if (fs_is_done(look->fs, look->who, p->sources[s].tensor))
			return false;
	return true;
}

bool fused_is_gone(const struct wloadfs *fs, struct node node)
{
	struct fused_look look = {
		.fs = fs, .tree = atomic_load(&fs->fused[node.who].tree), .who = node.who};
	bool shows;

	if (!look.tree || !plans_peek(fs, plans_fused_slot(fs, node.who), &look.planned))
		return true;
	shows = fused_shows(&look, node.index);
	fused_done(&look);
	return !shows;
}
