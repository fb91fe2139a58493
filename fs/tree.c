/* SPDX-License-Identifier: Apache-2.0 */
/* Names, attributes and listings of the mount's tree, one function for each kind of folder. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/control.h"
#include "fs/fused_tree.h"
#include "fs/npy.h"
#include "fs/plans.h"
#include "fs/tree.h"
#include "fs/view.h"
#include "loader/checkpoint/names.h"

#define NAME_BYTES_MAX	  255
#define TIMEOUT_IMMUTABLE 86400.0
#define BLOCK_BYTES	  512

static const struct {
	const char *name;
	struct node node;
} views[] = {
	{"tensors", {.kind = NODE_TENSORS}}, {"modules", {.kind = NODE_MODULE}},
	{"npy", {.kind = NODE_NPYS}},	     {".wload", {.kind = NODE_CONTROLS}},
	{"fused", {.kind = NODE_FUSED}},     {"ranks", {.kind = NODE_RANKS}},
};
#define VIEW_COUNT (sizeof(views) / sizeof(views[0]))

/* The folder that the files of a rank's checkpoint are made from, as it is, in the rank's .wload/:
 * its readers may not see the root. */
#define WHOLE_NAME "checkpoint"

/* A made file's cookie: behind those of all own entries. */
#define COOKIE_MADE (UINT64_C(1) << 32)

const char *const *tree_reserved(const struct wloadfs *fs)
{
	/* by whether there is fused/, and ranks/ */
	static const char *const names[2][7] = {
		{"ranks", "tensors", "modules", "npy", ".wload", NULL},
		{"ranks", "tensors", "modules", "npy", ".wload", "fused", NULL},
	};

	return &names[plans_any(fs)][fs->ranks ? 0 : 1];
}

/* Does a tree's root show this view? */
static bool has_view(const struct wloadfs *fs, struct node root, size_t view)
{
	if (views[view].node.kind == NODE_FUSED)
		return plans_any(fs);
	return views[view].node.kind != NODE_RANKS || (fs->ranks && root.who == CLAIMS_ROOT);
}

/* Is it a folder that shows the mount's views? */
static bool is_tree_root(struct node folder)
{
	return folder.index == 0 && folder.life == 0;
}

_Atomic uint8_t *tree_life(const struct wloadfs *fs, struct node folder)
{
	struct known *known = &fs->known[folder.who];

	switch (folder.kind) {
	case NODE_TENSORS:
		return &known->tensors_life;
	case NODE_NPYS:
		return &known->npys_life;
	case NODE_FUSED:
		return &known->fused_life;
	case NODE_MODULE:
		return &known->module_life[folder.index];
	default:
		return NULL;
	}
}

/* The folder in its present life. Returns false while it is removed. */
static bool alive(const struct wloadfs *fs, struct node folder, struct node *ret)
{
	const _Atomic uint8_t *life = tree_life(fs, folder);

	*ret = folder;
	if (life)
		ret->life = atomic_load(life);
	return ret->life % 2 == 0;
}

/* ---- lookup ---- */

/* A tensor's file in the tree that a folder is of. */
static int find_tensor(const struct wloadfs *fs, struct node folder, uint32_t tensor,
		       enum node_kind kind, struct node *ret)
{
	*ret = (struct node){.kind = kind, .index = tensor, .who = folder.who};
	return fs_is_done(fs, folder.who, tensor) ? -ENOENT : 0;
}

static struct node view_of_tree(struct node root, size_t view)
{
	struct node node = views[view].node;

	node.who = root.who;
	return node;
}

/* One of the checkpoint's own; files are the same in every tree. */
static struct node own_node(const struct wloadfs *fs, struct node folder, uint32_t own)
{
	return (struct node){.kind = NODE_OWN,
			     .index = own,
			     .life = fs->own.entry[own].folder ? folder.life : 0,
			     .who = fs->own.entry[own].folder ? folder.who : CLAIMS_ROOT};
}

static int lookup_root_or_own(const struct wloadfs *fs, struct node folder, const char *name,
			      struct node *ret)
{
	uint32_t own;
	int r;

	for (size_t i = 0; is_tree_root(folder) && i < VIEW_COUNT; i++) {
		if (strcmp(name, views[i].name) != 0 || !has_view(fs, folder, i))
			continue;
		return alive(fs, view_of_tree(folder, i), ret) ? 0 : -ENOENT;
	}
	r = made_tree_is_root(fs, folder) ? made_tree_lookup(fs, folder, name, ret) : -ENOENT;
	if (r != -ENOENT)
		return r;
	own = own_find(&fs->own, folder.index, name);
	if (own == OWN_NONE || made_tree_hides(fs, folder, own))
		return -ENOENT;
	*ret = own_node(fs, folder, own);
	return 0;
}

static int lookup_flat(const struct wloadfs *fs, struct node folder, const char *name,
		       struct node *ret)
{
	bool npy = folder.kind == NODE_NPYS;
	uint32_t tensor;
	int r = names_find(&fs->names, name, strlen(name), npy ? NPY_SUFFIX : "", &tensor);

	if (r < 0)
		return r;
	if (npy && !npy_possible(wload_inventory_tensor(fs->inv, tensor).dtype))
		return -ENOENT;
	return find_tensor(fs, folder, tensor, npy ? NODE_NPY : NODE_TENSOR, ret);
}

static struct node module_node(struct node folder, uint32_t module)
{
	return (struct node){.kind = NODE_MODULE, .index = module, .who = folder.who};
}

static int lookup_module(const struct wloadfs *fs, struct node folder, const char *name,
			 struct node *ret)
{
	struct module_entry entry;
	int r = modules_find(&fs->modules, folder.index, name, &entry);

	if (r < 0)
		return r;
	if (entry.module == MODULE_NONE)
		return find_tensor(fs, folder, entry.tensor, NODE_TENSOR, ret);
	return alive(fs, module_node(folder, entry.module), ret) ? 0 : -ENOENT;
}

static struct node control_node(struct node folder, uint32_t file)
{
	return (struct node){.kind = NODE_CONTROL, .index = file, .who = folder.who};
}

/* The checkpoint's own folder, in the .wload/ of a rank whose own is made. */
static struct node whole_node(struct node folder)
{
	return (struct node){.kind = NODE_OWN, .life = 1, .who = folder.who};
}

static bool has_whole(const struct wloadfs *fs, struct node folder)
{
	return plans_make_ranks(fs) && folder.who != CLAIMS_ROOT;
}

static int lookup_control(const struct wloadfs *fs, struct node folder, const char *name,
			  struct node *ret)
{
	for (uint32_t i = 0; i < CONTROL_FILE_COUNT; i++)
		if (strcmp(name, control_name((enum control_file)i)) == 0 &&
		    control_is_there(fs, control_node(folder, i))) {
			*ret = control_node(folder, i);
			return 0;
		}
	if (!has_whole(fs, folder) || strcmp(name, WHOLE_NAME) != 0)
		return -ENOENT;
	*ret = whole_node(folder);
	return 0;
}

/* The root of a rank's tree. */
static struct node rank_node(uint32_t rank)
{
	return (struct node){.kind = NODE_OWN, .who = (uint16_t)(rank + 1)};
}

/* A rank's folder is named by its number, as one prints it. */
static int lookup_rank(const struct wloadfs *fs, const char *name, struct node *ret)
{
	uint32_t rank = 0;

	if (name[0] == '0' && name[1])
		return -ENOENT;
	for (const char *c = name; *c; c++) {
		if (*c < '0' || *c > '9')
			return -ENOENT;
		rank = rank * 10 + (uint32_t)(*c - '0');
		if (rank >= fs->ranks)
			return -ENOENT;
	}
	*ret = rank_node(rank);
	return 0;
}

int tree_lookup(const struct wloadfs *fs, struct node parent, const char *name, struct node *ret)
{
	if (strlen(name) > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	switch (parent.kind) {
	case NODE_OWN:
		return fs->own.entry[parent.index].folder
			       ? lookup_root_or_own(fs, parent, name, ret)
			       : -ENOTDIR;
	case NODE_TENSORS:
	case NODE_NPYS:
		return lookup_flat(fs, parent, name, ret);
	case NODE_MODULE:
		return lookup_module(fs, parent, name, ret);
	case NODE_CONTROLS:
		return lookup_control(fs, parent, name, ret);
	case NODE_RANKS:
		return lookup_rank(fs, name, ret);
	case NODE_FUSED:
		return fused_tree_lookup(fs, parent, name, ret);
	default:
		return -ENOTDIR;
	}
}

/* ---- attributes ---- */

void tree_set_file(struct stat *st, mode_t mode, uint64_t bytes)
{
	st->st_mode = S_IFREG | mode;
	st->st_nlink = 1;
	st->st_size = (off_t)bytes;
	/* Never 0: tar takes a file without blocks for a hole. */
	st->st_blocks = bytes ? (blkcnt_t)((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES) : 1;
}

static void set_folder(struct stat *st, mode_t mode)
{
	st->st_mode = S_IFDIR | mode;
	st->st_nlink = 1; /* not counted: no tool may conclude anything about subfolders */
	st->st_blocks = 1;
}

/* What the group and others may do with the file or folder behind: they get no more here. The group
 * that is shown is the daemon's, so the group's rights count only where it is that one too. */
static mode_t others_mode(const struct wloadfs *fs, mode_t behind, gid_t gid)
{
	mode_t others = behind & 0005, group = gid == fs->gid ? behind & 0050 : others << 3;

	return group | others;
}

static mode_t file_mode(const struct wloadfs *fs, mode_t behind, gid_t gid)
{
	return 0600 | (others_mode(fs, behind, gid) & 0044);
}

static int stat_tensor(const struct wloadfs *fs, struct node node, bool by_handle, struct stat *st)
{
	struct wload_tensor tensor = wload_inventory_tensor(fs->inv, node.index);
	const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, tensor.shard);
	uint64_t header = node.kind == NODE_NPY ? npy_header_len(&tensor) : 0;
	bool gone = fs_is_done(fs, node.who, node.index);

	/* fstat() and stat() are one request, without a handle. While a consumed tensor is open
	 * fstat() must work, and the names fail by being looked up again; without the epoch
	 * notification stat() comes first. A cached read() brings its handle. */
	if (gone && !by_handle &&
	    (atomic_load(&fs->known[node.who].tensor[node.index].opens) == 0 ||
	     !feature_on(&fs->features, FEATURE_EPOCH)))
		return -ENOENT;
	tree_set_file(st, fs->shard_mode[tensor.shard], header + tensor.bytes);
	st->st_nlink = gone ? 0 : node.kind == NODE_TENSOR ? 2 : 1;
	st->st_mtim.tv_sec = shard->mtime_ns / 1000000000;
	st->st_mtim.tv_nsec = shard->mtime_ns % 1000000000;
	return 0;
}

static int stat_own(const struct wloadfs *fs, uint32_t index, struct stat *st)
{
	const struct own_entry *entry = &fs->own.entry[index];
	struct stat now;

	st->st_mtim = entry->mtime;
	if (entry->folder) {
		set_folder(st, 0700 | others_mode(fs, entry->mode, entry->gid));
		return 0;
	}
	tree_set_file(st, file_mode(fs, entry->mode, entry->gid), entry->bytes);
	/* A small file may be edited beside the mount; a shard may not (ESTALE at open). */
	if (entry->shard == OWN_NO_SHARD && own_stat(&fs->own, fs->ckpt, index, &now) == 0) {
		tree_set_file(st, file_mode(fs, now.st_mode, now.st_gid), (uint64_t)now.st_size);
		st->st_mtim = now.st_mtim;
	}
	return 0;
}

static int stat_control(const struct wloadfs *fs, struct node node, struct stat *st)
{
	tree_set_file(st, control_mode((enum control_file)node.index), control_size(fs, node));
	st->st_mtim = fs->mounted_at;
	return 0;
}

int tree_stat(const struct wloadfs *fs, struct node node, bool by_handle, struct stat *ret)
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
		r = stat_tensor(fs, node, by_handle, &st);
		break;
	case NODE_FUSED_FILE:
	case NODE_MADE:
		r = fused_tree_stat(fs, node, by_handle, &st);
		break;
	case NODE_CONTROL:
		r = stat_control(fs, node, &st);
		break;
	default:
		set_folder(&st, 0755);
	}
	st.st_atim = st.st_ctim = st.st_mtim;
	*ret = st;
	return r;
}

mode_t tree_shard_mode(const struct wloadfs *fs, const struct stat *st)
{
	return file_mode(fs, st->st_mode, st->st_gid);
}

bool tree_is_folder(const struct wloadfs *fs, struct node node)
{
	switch (node.kind) {
	case NODE_OWN:
		return fs->own.entry[node.index].folder;
	case NODE_TENSOR:
	case NODE_NPY:
	case NODE_CONTROL:
	case NODE_FUSED_FILE:
	case NODE_MADE:
		return false;
	default:
		return true;
	}
}

double tree_attr_timeout(const struct wloadfs *fs, struct node node)
{
	if (node.kind == NODE_CONTROL)
		return 0;
	if (node.kind == NODE_OWN && !fs->own.entry[node.index].folder &&
	    fs->own.entry[node.index].shard == OWN_NO_SHARD)
		return 1;
	if ((node.kind == NODE_TENSOR || node.kind == NODE_NPY || node.kind == NODE_FUSED_FILE) &&
	    view_is_gone(fs, node))
		return 0;
	return TIMEOUT_IMMUTABLE;
}

/* ---- listings ---- */

/* Entries come as views, own ones, made ones; each kind has cookies of its own. */
static int entry_own(const struct wloadfs *fs, struct node folder, uint64_t at,
		     struct tree_entry *ret)
{
	const struct own_entry *dir = &fs->own.entry[folder.index];

	for (; is_tree_root(folder) && at < VIEW_COUNT; at++) {
		if (!has_view(fs, folder, at) || !alive(fs, view_of_tree(folder, at), &ret->node))
			continue;
		ret->name = views[at].name;
		ret->next = at + 1;
		return 1;
	}
	for (; at < COOKIE_MADE; at++) {
		uint64_t child = at - (is_tree_root(folder) ? VIEW_COUNT : 0);

		if (child >= dir->child_count)
			break;
		if (made_tree_hides(fs, folder, dir->first_child + (uint32_t)child))
			continue;
		ret->node = own_node(fs, folder, dir->first_child + (uint32_t)child);
		ret->name = fs->own.entry[ret->node.index].name;
		ret->next = at + 1;
		return 1;
	}
	at = at < COOKIE_MADE ? COOKIE_MADE : at;
	ret->next = at + 1;
	if (!made_tree_is_root(fs, folder))
		return 0;
	return made_tree_entry(fs, folder, (uint32_t)(at - COOKIE_MADE), ret);
}

static bool entry_flat(const struct wloadfs *fs, struct node folder, uint64_t at,
		       struct tree_entry *ret)
{
	bool npy = folder.kind == NODE_NPYS;

	for (; at < wload_inventory_count(fs->inv); at++) {
		struct wload_tensor tensor;

		if (find_tensor(fs, folder, (uint32_t)at, npy ? NODE_NPY : NODE_TENSOR,
				&ret->node) < 0)
			continue;
		tensor = wload_inventory_tensor(fs->inv, (uint32_t)at);
		if (npy && !npy_possible(tensor.dtype))
			continue;
		name_to_file(tensor.name, strlen(tensor.name), npy ? NPY_SUFFIX : "",
			     ret->name_buf);
		ret->name = ret->name_buf;
		ret->next = at + 1;
		return true;
	}
	return false;
}

static bool entry_module(const struct wloadfs *fs, struct node folder, uint64_t at,
			 struct tree_entry *ret)
{
	struct module_entry entry;
	bool shown = false;

	for (; !shown && at <= UINT32_MAX &&
	       modules_entry(&fs->modules, folder.index, (uint32_t)at, &entry);
	     at = entry.next)
		shown = entry.module == MODULE_NONE
				? find_tensor(fs, folder, entry.tensor, NODE_TENSOR, &ret->node) ==
					  0
				: alive(fs, module_node(folder, entry.module), &ret->node);
	if (!shown)
		return false;
	memcpy(ret->name_buf, entry.file, sizeof(entry.file));
	ret->name = ret->name_buf;
	ret->next = entry.next;
	return true;
}

static bool entry_control(const struct wloadfs *fs, struct node folder, uint64_t at,
			  struct tree_entry *ret)
{
	for (; at < CONTROL_FILE_COUNT; at++) {
		ret->node = control_node(folder, (uint32_t)at);
		if (!control_is_there(fs, ret->node))
			continue;
		ret->name = control_name((enum control_file)at);
		ret->next = at + 1;
		return true;
	}
	if (at > CONTROL_FILE_COUNT || !has_whole(fs, folder))
		return false;
	ret->node = whole_node(folder);
	ret->name = WHOLE_NAME;
	ret->next = at + 1;
	return true;
}

static bool entry_rank(const struct wloadfs *fs, uint64_t at, struct tree_entry *ret)
{
	if (at >= fs->ranks)
		return false;
	ret->node = rank_node((uint32_t)at);
	(void)snprintf(ret->name_buf, sizeof(ret->name_buf), "%u", (unsigned int)at);
	ret->name = ret->name_buf;
	ret->next = at + 1;
	return true;
}

int tree_entry(const struct wloadfs *fs, struct node folder, uint64_t cookie,
	       struct tree_entry *ret)
{
	switch (folder.kind) {
	case NODE_OWN:
		return entry_own(fs, folder, cookie, ret);
	case NODE_TENSORS:
	case NODE_NPYS:
		return entry_flat(fs, folder, cookie, ret);
	case NODE_MODULE:
		return entry_module(fs, folder, cookie, ret);
	case NODE_CONTROLS:
		return entry_control(fs, folder, cookie, ret);
	case NODE_RANKS:
		return entry_rank(fs, cookie, ret);
	case NODE_FUSED:
		return fused_tree_entry(fs, folder, cookie, ret);
	default:
		return 0;
	}
}

int tree_is_empty(const struct wloadfs *fs, struct node folder)
{
	struct tree_entry entry;
	int r = tree_entry(fs, folder, 0, &entry);

	return r < 0 ? r : !r;
}
