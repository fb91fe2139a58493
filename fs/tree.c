/* SPDX-License-Identifier: Apache-2.0 */
/* Names, attributes and listings of the mount's tree. What differs by kind of node is in the
 * `folders` table: how a name is found in it and how its entries are walked. */

#include <errno.h>
#include <string.h>

#include "fs/control.h"
#include "fs/npy.h"
#include "fs/tree.h"
#include "loader/checkpoint/names.h"

#define NAME_BYTES_MAX	  255
#define TIMEOUT_IMMUTABLE 86400.0
#define BLOCK_BYTES	  512

static const struct {
	const char *name;
	struct node node;
} views[] = {
	{"tensors", {NODE_TENSORS, 0}},
	{"modules", {NODE_MODULE, 0}},
	{"npy", {NODE_NPYS, 0}},
	{".wload", {NODE_CONTROLS, 0}},
};
#define VIEW_COUNT (sizeof(views) / sizeof(views[0]))

const char *const tree_reserved[] = {"tensors", "modules", "npy", ".wload", NULL};

static const char *const control_names[CONTROL_FILE_COUNT] = {
	[CONTROL_STATS] = "stats.json",
	[CONTROL_INDEX] = "index.jsonl",
	[CONTROL_CONSUME] = "consume",
};

const char *tree_control_name(enum control_file file)
{
	return control_names[file];
}

static bool view_removed(const struct wloadfs *fs, struct node view)
{
	switch (view.kind) {
	case NODE_TENSORS:
		return fs->tensors_removed;
	case NODE_NPYS:
		return fs->npys_removed;
	case NODE_MODULE:
		return fs->module_removed[view.index];
	default:
		return false;
	}
}

/* ---- lookup ---- */

static int find_tensor(const struct wloadfs *fs, uint32_t tensor, enum node_kind kind,
		       struct node *ret)
{
	if (consumed_has(&fs->consumed, tensor))
		return -ENOENT;
	*ret = (struct node){kind, tensor};
	return 0;
}

static int lookup_root_or_own(const struct wloadfs *fs, uint32_t folder, const char *name,
			      struct node *ret)
{
	uint32_t own;

	for (size_t i = 0; folder == 0 && i < VIEW_COUNT; i++) {
		if (strcmp(name, views[i].name) != 0)
			continue;
		if (view_removed(fs, views[i].node))
			return -ENOENT;
		*ret = views[i].node;
		return 0;
	}
	own = own_find(&fs->own, folder, name);
	if (own == OWN_NONE)
		return -ENOENT;
	*ret = (struct node){NODE_OWN, own};
	return 0;
}

static int lookup_flat(const struct wloadfs *fs, const char *name, bool npy, struct node *ret)
{
	uint32_t tensor;
	int r = names_find(&fs->names, name, strlen(name), npy ? NPY_SUFFIX : "", &tensor);

	if (r < 0)
		return r;
	if (npy && !npy_possible(wload_inventory_tensor(fs->inv, tensor).dtype))
		return -ENOENT;
	return find_tensor(fs, tensor, npy ? NODE_NPY : NODE_TENSOR, ret);
}

static int lookup_module(const struct wloadfs *fs, uint32_t module, const char *name,
			 struct node *ret)
{
	struct module_entry entry;
	int r = modules_find(&fs->modules, module, name, &entry);

	if (r < 0)
		return r;
	if (entry.module == MODULE_NONE)
		return find_tensor(fs, entry.tensor, NODE_TENSOR, ret);
	if (fs->module_removed[entry.module])
		return -ENOENT;
	*ret = (struct node){NODE_MODULE, entry.module};
	return 0;
}

static int lookup_control(const char *name, struct node *ret)
{
	for (uint32_t i = 0; i < CONTROL_FILE_COUNT; i++)
		if (strcmp(name, control_names[i]) == 0) {
			*ret = (struct node){NODE_CONTROL, i};
			return 0;
		}
	return -ENOENT;
}

int tree_lookup(const struct wloadfs *fs, struct node parent, const char *name, struct node *ret)
{
	if (strlen(name) > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	switch (parent.kind) {
	case NODE_OWN:
		return fs->own.entry[parent.index].folder
			       ? lookup_root_or_own(fs, parent.index, name, ret)
			       : -ENOTDIR;
	case NODE_TENSORS:
	case NODE_NPYS:
		return lookup_flat(fs, name, parent.kind == NODE_NPYS, ret);
	case NODE_MODULE:
		return lookup_module(fs, parent.index, name, ret);
	case NODE_CONTROLS:
		return lookup_control(name, ret);
	default:
		return -ENOTDIR;
	}
}

/* ---- attributes ---- */

static void set_file(struct stat *st, mode_t mode, uint64_t bytes)
{
	st->st_mode = S_IFREG | mode;
	st->st_nlink = 1;
	st->st_size = (off_t)bytes;
	/* Never 0: tar takes a file without blocks for a hole. */
	st->st_blocks = bytes ? (blkcnt_t)((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES) : 1;
}

static void set_folder(struct stat *st)
{
	st->st_mode = S_IFDIR | 0755;
	st->st_nlink = 1; /* not counted: no tool may conclude anything about subfolders */
	st->st_blocks = 1;
}

/* Others may read what they may read of the file behind it. */
static mode_t shown_mode(mode_t behind)
{
	return 0600 | (behind & 0044);
}

static int stat_tensor(const struct wloadfs *fs, struct node node, struct stat *st)
{
	struct wload_tensor tensor = wload_inventory_tensor(fs->inv, node.index);
	const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, tensor.shard);
	uint64_t header = node.kind == NODE_NPY ? npy_header_len(&tensor) : 0;
	bool gone = consumed_has(&fs->consumed, node.index);

	/* fstat() and stat() are one request. While a consumed tensor is open fstat() must work,
	 * and the names fail by being looked up again; without the epoch notification stat() comes
	 * first. */
	if (gone && (atomic_load(&fs->tensor[node.index].opens) == 0 || !fs->has_epoch))
		return -ENOENT;
	set_file(st, shown_mode(fs->shard_mode[tensor.shard]), header + tensor.bytes);
	st->st_nlink = gone ? 0 : node.kind == NODE_TENSOR ? 2 : 1;
	st->st_mtim.tv_sec = shard->mtime_ns / 1000000000;
	st->st_mtim.tv_nsec = shard->mtime_ns % 1000000000;
	return 0;
}

static int stat_own(const struct wloadfs *fs, uint32_t index, struct stat *st)
{
	const struct own_entry *entry = &fs->own.entry[index];

	if (entry->folder) {
		set_folder(st);
	} else {
		struct stat now;

		set_file(st, shown_mode(entry->mode), entry->bytes);
		/* A small file may be edited beside the mount; a shard may not (ESTALE at open). */
		if (entry->shard == OWN_NO_SHARD && own_stat(&fs->own, fs->ckpt, index, &now) == 0)
			set_file(st, shown_mode(now.st_mode), (uint64_t)now.st_size);
	}
	st->st_mtim = entry->mtime;
	return 0;
}

static int stat_control(const struct wloadfs *fs, enum control_file file, struct stat *st)
{
	set_file(st, file == CONTROL_CONSUME ? 0600 : 0444, control_size(fs, file));
	st->st_mtim = fs->mounted_at;
	return 0;
}

int tree_stat(const struct wloadfs *fs, struct node node, struct stat *ret)
{
	struct stat st = {
		.st_ino = node_id(node),
		.st_uid = fs->uid,
		.st_gid = fs->gid,
		.st_blksize = 1 << 20,
		.st_mtim = fs->mounted_at,
	};
	int r = 0;

	switch (node.kind) {
	case NODE_OWN:
		r = stat_own(fs, node.index, &st);
		break;
	case NODE_TENSOR:
	case NODE_NPY:
		r = stat_tensor(fs, node, &st);
		break;
	case NODE_CONTROL:
		r = stat_control(fs, (enum control_file)node.index, &st);
		break;
	default:
		set_folder(&st);
	}
	st.st_atim = st.st_ctim = st.st_mtim;
	*ret = st;
	return r;
}

bool tree_is_folder(const struct wloadfs *fs, struct node node)
{
	if (node.kind == NODE_OWN)
		return fs->own.entry[node.index].folder;
	return node.kind != NODE_TENSOR && node.kind != NODE_NPY && node.kind != NODE_CONTROL;
}

double tree_attr_timeout(const struct wloadfs *fs, struct node node)
{
	if (node.kind == NODE_CONTROL)
		return 0;
	if (node.kind == NODE_OWN && !fs->own.entry[node.index].folder &&
	    fs->own.entry[node.index].shard == OWN_NO_SHARD)
		return 1;
	if ((node.kind == NODE_TENSOR || node.kind == NODE_NPY) &&
	    consumed_has(&fs->consumed, node.index))
		return 0;
	return TIMEOUT_IMMUTABLE;
}

/* ---- listings ---- */

static bool entry_own(const struct wloadfs *fs, uint32_t folder, uint64_t at,
		      struct tree_entry *ret)
{
	const struct own_entry *dir = &fs->own.entry[folder];

	for (; folder == 0 && at < VIEW_COUNT; at++) {
		if (view_removed(fs, views[at].node))
			continue;
		ret->node = views[at].node;
		ret->name = views[at].name;
		ret->next = at + 1;
		return true;
	}
	ret->next = at + 1;
	at -= folder == 0 ? VIEW_COUNT : 0;
	if (at >= dir->child_count)
		return false;
	ret->node = (struct node){NODE_OWN, dir->first_child + (uint32_t)at};
	ret->name = fs->own.entry[ret->node.index].name;
	return true;
}

static bool entry_flat(const struct wloadfs *fs, bool npy, uint64_t at, struct tree_entry *ret)
{
	for (; at < wload_inventory_count(fs->inv); at++) {
		struct wload_tensor tensor;

		if (consumed_has(&fs->consumed, (uint32_t)at))
			continue;
		tensor = wload_inventory_tensor(fs->inv, (uint32_t)at);
		if (npy && !npy_possible(tensor.dtype))
			continue;
		name_to_file(tensor.name, strlen(tensor.name), npy ? NPY_SUFFIX : "",
			     ret->name_buf);
		ret->node = (struct node){npy ? NODE_NPY : NODE_TENSOR, (uint32_t)at};
		ret->name = ret->name_buf;
		ret->next = at + 1;
		return true;
	}
	return false;
}

static bool entry_module(const struct wloadfs *fs, uint32_t module, uint64_t at,
			 struct tree_entry *ret)
{
	struct module_entry entry;

	for (; at <= UINT32_MAX && modules_entry(&fs->modules, module, (uint32_t)at, &entry);
	     at = entry.next) {
		if (entry.module == MODULE_NONE ? consumed_has(&fs->consumed, entry.tensor)
						: fs->module_removed[entry.module])
			continue;
		ret->node = entry.module == MODULE_NONE ? (struct node){NODE_TENSOR, entry.tensor}
							: (struct node){NODE_MODULE, entry.module};
		memcpy(ret->name_buf, entry.file, sizeof(entry.file));
		ret->name = ret->name_buf;
		ret->next = entry.next;
		return true;
	}
	return false;
}

bool tree_entry(const struct wloadfs *fs, struct node folder, uint64_t cookie,
		struct tree_entry *ret)
{
	switch (folder.kind) {
	case NODE_OWN:
		return entry_own(fs, folder.index, cookie, ret);
	case NODE_TENSORS:
	case NODE_NPYS:
		return entry_flat(fs, folder.kind == NODE_NPYS, cookie, ret);
	case NODE_MODULE:
		return entry_module(fs, folder.index, cookie, ret);
	case NODE_CONTROLS:
		if (cookie >= CONTROL_FILE_COUNT)
			return false;
		ret->node = (struct node){NODE_CONTROL, (uint32_t)cookie};
		ret->name = control_names[cookie];
		ret->next = cookie + 1;
		return true;
	default:
		return false;
	}
}

bool tree_is_empty(const struct wloadfs *fs, struct node folder)
{
	struct tree_entry entry;

	return !tree_entry(fs, folder, 0, &entry);
}
