/* SPDX-License-Identifier: Apache-2.0 */
/* Clears the kernel's caches of files that are made of many tensors (see fused_mark.h): of a
 * parameter's file all pages, of a rank's checkpoint those that the parameter lies on, the first
 * and the last one too, which a reader of its neighbours just reads again. */

#include "fs/budget.h"
#include "fs/evict.h"
#include "fs/fused.h"
#include "fs/fused_mark.h"
#include "fs/ledger.h"

/* The state of a tree's fused/, and what its plan is known to be; NULL: nobody has seen it. */
static struct fused_tree *seen_tree(const struct wloadfs *fs, uint32_t who,
				    const struct param_index **ret_index)
{
	const struct plan_shape *shape = plans_shape(fs, plans_fused_slot(fs, who));
	struct fused_tree *tree = shape ? atomic_load(&fs->fused[who].tree) : NULL;

	if (tree)
		*ret_index = &shape->index;
	return tree;
}

/* Which files of a tree's checkpoint were opened; NULL: it has none, or none was. */
static const _Atomic bool *opened_files(const struct wloadfs *fs, uint32_t who)
{
	if (!plans_make_ranks(fs) || who == CLAIMS_ROOT || !fs->plans)
		return NULL;
	return atomic_load(&fs->fused[who].opened);
}

static struct node file_node(uint32_t who, uint32_t param)
{
	return (struct node){.kind = NODE_FUSED_FILE, .index = param, .who = (uint16_t)who};
}

/* ---- names ---- */

void fused_forget_file(struct wloadfs *fs, struct node file)
{
	struct fused_tree *tree = atomic_load(&fs->fused[file.who].tree);

	if (tree && atomic_load(&tree->file[file.index].seen) & SEEN_TENSOR)
		(void)fuse_lowlevel_notify_inval_inode(fs->session, node_id(file), -1, 0);
}

void fused_forget(struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	const struct param_index *index;
	uint32_t cursor = 0, param;

	if (!seen_tree(fs, who, &index))
		return;
	while ((param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
		fused_forget_file(fs, file_node(who, param));
}

uint8_t fused_seen(const struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	const struct param_index *index;
	const struct fused_tree *tree = seen_tree(fs, who, &index);
	uint8_t seen = opened_files(fs, who) ? SEEN_OPEN : 0;
	uint32_t cursor = 0, param;

	while (tree && (param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
		seen |= atomic_load(&tree->file[param].seen);
	return seen;
}

bool fused_is_open(const struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	const struct param_index *index;
	const struct fused_tree *tree = seen_tree(fs, who, &index);
	uint32_t cursor = 0, param;

	while (tree && (param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
		if (atomic_load(&tree->file[param].opens))
			return true;
	return false;
}

/* ---- pages ---- */

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

/* What a tree's checkpoint has of a parameter. */
static void drop_made(struct wloadfs *fs, uint32_t who, uint32_t param)
{
	const struct plan_shape *shape = plans_shape(fs, plans_made_slot(fs, who));
	const _Atomic bool *opened = opened_files(fs, who);
	uint64_t page = fs->page_bytes, bytes = shape->index.bytes[param], lo;
	struct node node = {.kind = NODE_MADE, .who = (uint16_t)who};

	lo = made_offset(&shape->made, param, &node.index);
	if (bytes && atomic_load(&opened[node.index]))
		invalidate(fs, node, lo / page * page, (lo + bytes + page - 1) / page * page);
}

void fused_drop_file(struct wloadfs *fs, struct node file)
{
	struct fused_tree *tree = atomic_load(&fs->fused[file.who].tree);
	uint64_t page = fs->page_bytes, bytes = fused_bytes(fs, file);

	if (atomic_load(&fs->stopping))
		return;
	if (bytes && atomic_load(&tree->file[file.index].seen) & SEEN_OPEN)
		invalidate(fs, file, 0, (bytes + page - 1) / page * page);
	/* Where both are one plan; else it goes with its tensors. */
	if (opened_files(fs, file.who) && fs->plan.names == WLOAD_NAMES_FUSED)
		drop_made(fs, file.who, file.index);
}

void fused_drop(struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	const struct param_index *index;
	uint32_t cursor = 0, param;

	if (atomic_load(&fs->stopping))
		return;
	if (seen_tree(fs, who, &index))
		while ((param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
			fused_drop_file(fs, file_node(who, param));
	if (!opened_files(fs, who))
		return;
	index = &plans_shape(fs, plans_made_slot(fs, who))->index;
	for (cursor = 0; (param = param_index_next(index, tensor, &cursor)) != PARAM_NONE;)
		drop_made(fs, who, param);
}

/* ---- what is read again ---- */

struct reread {
	struct wloadfs *fs;
	uint32_t who;
	bool any; /* of what is gone from the tree */
};

static void see_reread(void *ctx, uint32_t tensor, uint64_t lo, uint64_t hi)
{
	struct reread *reread = ctx;

	(void)lo;
	(void)hi;
	reread->any |= fs_is_done(reread->fs, reread->who, tensor);
	if (fs_is_consumed(reread->fs, tensor))
		evict_tensor(reread->fs, tensor);
}

static bool is_any_done(struct wloadfs *fs, uint32_t who)
{
	bool any;

	pthread_mutex_lock(&fs->lock);
	any = claims_of(&fs->claims, who)->tensors != 0;
	pthread_mutex_unlock(&fs->lock);
	return any;
}

void fused_after_read(struct wloadfs *fs, struct node file, uint64_t offset, uint64_t len)
{
	struct reread reread = {.fs = fs, .who = file.who};

	if (!is_any_done(fs, file.who))
		return;
	fused_touched(fs, file, offset, len, see_reread, &reread);
	if (!reread.any)
		return;
	if (!fs->budget) /* which counts itself */
		atomic_fetch_add(&fs->reread_bytes, len);
	if (file.kind == NODE_MADE && !atomic_exchange(&fs->fused[file.who].reread, true))
		evictor_wake(fs);
}

bool fused_is_reread(const struct wloadfs *fs)
{
	for (uint32_t who = 1; plans_make_ranks(fs) && who < fs_claimants(fs); who++)
		if (atomic_load(&fs->fused[who].reread))
			return true;
	return false;
}

/* Drops what a tree's checkpoint has of tensors that are gone from the tree. */
static void drop_done(struct wloadfs *fs, uint32_t who)
{
	const struct param_index *index = &plans_shape(fs, plans_made_slot(fs, who))->index;

	for (uint32_t tensor = 0; tensor < wload_inventory_count(fs->inv); tensor++) {
		uint32_t cursor = 0, param;

		if (!fs_is_done(fs, who, tensor))
			continue;
		while ((param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
			drop_made(fs, who, param);
	}
}

void fused_look_again(struct wloadfs *fs)
{
	for (uint32_t who = 1; plans_make_ranks(fs) && who < fs_claimants(fs); who++)
		if (atomic_exchange(&fs->fused[who].reread, false) && !atomic_load(&fs->stopping))
			drop_done(fs, who);
}
