/* SPDX-License-Identifier: Apache-2.0 */
/* Names and attributes of parameters and of ranks' checkpoints (see fused_tree.h). */

#include <errno.h>
#include <string.h>

#include "fs/fused.h"
#include "fs/fused_tree.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/names.h"

#define SHARD_SUFFIX ".safetensors"
#define INDEX_SUFFIX ".safetensors.index.json"

/* ---- fused/ ---- */

static struct node param_node(struct node folder, uint32_t param)
{
	return (struct node){.kind = NODE_FUSED_FILE, .index = param, .who = folder.who};
}

int fused_tree_lookup(const struct wloadfs *fs, struct node folder, const char *name,
		      struct node *ret)
{
	struct fused_look look CLEANUP(fused_done) = {0};
	uint32_t param;
	int r = fused_look(fs, folder.who, &look);

	if (r == 0)
		r = param_names_find(look.planned.names, name, &param);
	if (r < 0)
		return r;
	*ret = param_node(folder, param);
	return fused_shows(&look, param) ? 0 : -ENOENT;
}

int fused_tree_entry(const struct wloadfs *fs, struct node folder, uint64_t at,
		     struct tree_entry *ret)
{
	struct fused_look look CLEANUP(fused_done) = {0};
	const char *name;
	int r = fused_look(fs, folder.who, &look);

	if (r < 0)
		return r;
	while (at < look.tree->params && !fused_shows(&look, (uint32_t)at))
		at++;
	if (at >= look.tree->params)
		return 0;
	name = wload_plan_param(look.planned.plan, (uint32_t)at)->name;
	name_to_file(name, strlen(name), "", ret->name_buf);
	ret->node = param_node(folder, (uint32_t)at);
	ret->name = ret->name_buf;
	ret->next = at + 1;
	return 1;
}

/* ---- a rank's checkpoint ---- */

bool made_tree_is_root(const struct wloadfs *fs, struct node folder)
{
	return plans_make_ranks(fs) && folder.who != CLAIMS_ROOT && folder.life == 0 &&
	       folder.kind == NODE_OWN && folder.index == 0;
}

static bool ends_with(const char *name, const char *tail)
{
	size_t len = strlen(name), tail_len = strlen(tail);

	return len >= tail_len && strcmp(name + len - tail_len, tail) == 0;
}

/* Shards, wherever they lie, and in the folder itself whatever a reader could take for one. */
bool made_tree_hides(const struct wloadfs *fs, struct node folder, uint32_t own)
{
	const struct own_entry *entry = &fs->own.entry[own];

	if (!plans_make_ranks(fs) || folder.who == CLAIMS_ROOT || folder.life)
		return false;
	if (entry->shard != OWN_NO_SHARD)
		return true;
	return folder.index == 0 && !entry->folder &&
	       (ends_with(entry->name, SHARD_SUFFIX) || ends_with(entry->name, INDEX_SUFFIX));
}

static struct node made_node(struct node folder, uint32_t file)
{
	return (struct node){.kind = NODE_MADE, .index = file, .who = folder.who};
}

int made_tree_lookup(const struct wloadfs *fs, struct node folder, const char *name,
		     struct node *ret)
{
	struct made_look look CLEANUP(made_done) = {0};
	uint32_t file;
	int r;

	if (!ends_with(name, SHARD_SUFFIX) && !ends_with(name, INDEX_SUFFIX))
		return -ENOENT; /* and no plan is needed to know that */
	r = made_look(fs, folder.who, &look);
	if (r == 0)
		r = made_find(&look.planned.shape->made, name, &file);
	if (r == 0)
		*ret = made_node(folder, file);
	return r;
}

int made_tree_entry(const struct wloadfs *fs, struct node folder, uint32_t file,
		    struct tree_entry *ret)
{
	struct made_look look CLEANUP(made_done) = {0};
	int r = made_look(fs, folder.who, &look);

	if (r < 0)
		return r;
	if (file >= made_files(&look.planned.shape->made))
		return 0;
	made_name(&look.planned.shape->made, file, ret->name_buf);
	ret->node = made_node(folder, file);
	ret->name = ret->name_buf;
	return 1;
}

/* ---- attributes ---- */

/* What all shards allow. */
static mode_t mode_of(const struct wloadfs *fs)
{
	mode_t mode = 0777;

	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++)
		mode &= fs->shard_mode[i];
	return mode & 0666;
}

/* As old as the newest shard. */
static int64_t mtime_ns_of(const struct wloadfs *fs)
{
	int64_t newest = 0;

	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++) {
		int64_t ns = wload_checkpoint_shard(fs->ckpt, i)->mtime_ns;

		newest = newest < ns ? ns : newest;
	}
	return newest;
}

/* Is a parameter gone, and does nobody have it open? As for tensors (tree.c) an open one answers,
 * and without the epoch only by its handle. */
static int is_there(const struct wloadfs *fs, struct node node, bool by_handle, bool *ret_gone)
{
	struct fused_look look CLEANUP(fused_done) = {0};
	int r = fused_look(fs, node.who, &look);

	if (r < 0)
		return r;
	*ret_gone = !fused_shows(&look, node.index);
	if (*ret_gone && !by_handle &&
	    (atomic_load(&look.tree->file[node.index].opens) == 0 ||
	     !feature_on(&fs->features, FEATURE_EPOCH)))
		return -ENOENT;
	return 0;
}

int fused_tree_stat(const struct wloadfs *fs, struct node node, bool by_handle, struct stat *st)
{
	int64_t ns = mtime_ns_of(fs);
	bool gone = false;
	int r = node.kind == NODE_FUSED_FILE ? is_there(fs, node, by_handle, &gone) : 0;

	if (r < 0)
		return r;
	tree_set_file(st, mode_of(fs), fused_bytes(fs, node));
	st->st_nlink = !gone;
	st->st_mtim.tv_sec = ns / 1000000000;
	st->st_mtim.tv_nsec = ns % 1000000000;
	return 0;
}
