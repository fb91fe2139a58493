/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE operations on names and attributes, and the table of all of them. Whatever would write and
 * is not consumption is answered EROFS; removing what is not a tensor, EPERM. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/fused_mark.h"
#include "fs/fused_xattr.h"
#include "fs/mark.h"
#include "fs/ops.h"
#include "fs/trace.h"
#include "fs/tree.h"
#include "fs/view.h"
#include "fs/xattr.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"

#define STATFS_BLOCK   512
#define TIMEOUT_NAME   86400.0
#define DOTS	       2   /* cookies 1 and 2 are behind "." and ".." */
#define PLUS_ENTRY_MIN 128 /* bytes that an entry of READDIRPLUS takes at least (152 in 7.9) */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	wire_negotiate(wire_of(userdata), conn);
}

/* ---- names and attributes ---- */

/* Remembers that the kernel now knows this inode. */
static void note_seen(struct wloadfs *fs, struct node node)
{
	struct known *known = &fs->known[node.who];

	if (node.kind == NODE_TENSOR)
		atomic_fetch_or(&known->tensor[node.index].seen, SEEN_TENSOR);
	else if (node.kind == NODE_NPY)
		atomic_fetch_or(&known->tensor[node.index].seen, SEEN_NPY);
	else if (node.kind == NODE_FUSED_FILE)
		fused_note_seen(fs, node);
}

static int fill_entry(struct wloadfs *fs, struct node node, struct fuse_entry_param *entry)
{
	int r;

	note_seen(fs, node);
	*entry = (struct fuse_entry_param){
		.ino = node_id(node),
		.attr_timeout = tree_attr_timeout(fs, node),
		.entry_timeout = TIMEOUT_NAME,
	};
	r = tree_stat(fs, node, false, &entry->attr);
	/* Consumed between the look-up and now: the name must not be kept. */
	if (r == 0 && entry->attr.st_nlink == 0)
		r = -ENOENT;
	return r;
}

/* A tensor consumed while the reply that shows it was on its way: what the kernel keeps of that
 * must not outlive it. */
static void check_shown(struct wloadfs *fs, struct node node)
{
	if ((node.kind == NODE_TENSOR || node.kind == NODE_NPY) &&
	    fs_is_done(fs, node.who, node.index))
		evict_attributes(fs, node.index);
	else if (node.kind == NODE_FUSED_FILE && view_is_gone(fs, node))
		fused_forget_file(fs, node);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct wloadfs *fs = fs_of(req);
	struct fuse_entry_param entry;
	struct node node = {0};
	int r = tree_lookup(fs, node_from_id(parent), name, &node);

	if (r == 0)
		r = fill_entry(fs, node, &entry);
	if (r == -ENOENT)
		trace_missing(fs, node, fuse_req_ctx(req)->pid);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fuse_reply_entry(req, &entry);
	check_shown(fs, node);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	(void)ino;
	(void)count;
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct wloadfs *fs = fs_of(req);
	struct node node = node_from_id(ino);
	struct stat st;
	int r = tree_stat(fs, node, fi != NULL, &st);

	if (r == -ENOENT)
		trace_missing(fs, node, fuse_req_ctx(req)->pid);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, tree_attr_timeout(fs, node));
}

/* Accepts a shell's truncation of consume; everything else would change the mount. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct node node = node_from_id(ino);
	int allowed = FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW |
		      FUSE_SET_ATTR_CTIME;

	(void)attr;
	if (node.kind == NODE_CONTROL && node.index == CONTROL_CONSUME &&
	    to_set & FUSE_SET_ATTR_SIZE && !(to_set & ~allowed))
		op_getattr(req, ino, fi);
	else
		fuse_reply_err(req, EROFS);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct wloadfs *fs = fs_of(req);
	struct statvfs s = {.f_bsize = STATFS_BLOCK, .f_frsize = STATFS_BLOCK, .f_namemax = 255};

	(void)ino;
	pthread_mutex_lock(&fs->lock);
	s.f_bfree = fs->claims.consumed.bytes / STATFS_BLOCK;
	s.f_ffree = fs->claims.consumed.tensors;
	pthread_mutex_unlock(&fs->lock);
	s.f_blocks = (wload_inventory_bytes(fs->inv) + STATFS_BLOCK - 1) / STATFS_BLOCK;
	s.f_files = wload_inventory_count(fs->inv);
	if (s.f_ffree == s.f_files)
		s.f_bfree = s.f_blocks;
	s.f_bavail = s.f_bfree;
	s.f_favail = s.f_ffree;
	fuse_reply_statfs(req, &s);
}

/* ---- listings ---- */

/* The entry at or behind a cookie, "." and ".." included. Returns as tree_entry(). */
static int entry_at(const struct wloadfs *fs, struct node folder, uint64_t cookie,
		    struct tree_entry *ret)
{
	int r;

	if (cookie < DOTS) {
		ret->node = folder; /* the kernel fills in the parent's number itself */
		ret->name = cookie == 0 ? "." : "..";
		ret->next = cookie + 1;
		return 1;
	}
	r = tree_entry(fs, folder, cookie - DOTS, ret);
	if (r > 0)
		ret->next += DOTS;
	return r;
}

/* Adds one entry to a reply. Returns its size; over `room` when it does not fit. */
static size_t add_entry(fuse_req_t req, struct tree_entry *entry, char *buf, size_t room, bool plus,
			uint64_t cookie)
{
	struct wloadfs *fs = fs_of(req);
	struct fuse_entry_param param = {0};
	bool dots = cookie < DOTS;

	if (plus && !dots) {
		/* Ask for the size first: a look-up counts once the entry is in the reply. */
		size_t size = fuse_add_direntry_plus(req, NULL, 0, entry->name, NULL, 0);

		if (size > room)
			return size;
		if (fill_entry(fs, entry->node, &param) < 0)
			return 0;
	} else {
		param.attr.st_ino = node_id(entry->node);
		param.attr.st_mode = tree_is_folder(fs, entry->node) ? S_IFDIR : S_IFREG;
	}
	if (plus)
		return fuse_add_direntry_plus(req, buf, room, entry->name, &param,
					      (off_t)entry->next);
	return fuse_add_direntry(req, buf, room, entry->name, &param.attr, (off_t)entry->next);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct wloadfs *fs = fs_of(req);
	struct node folder = node_from_id(ino);
	CLEANUP_FREE char *buf = malloc(size);
	CLEANUP_FREE struct node *shown = malloc((size / PLUS_ENTRY_MIN + 1) * sizeof(*shown));
	struct tree_entry entry;
	uint64_t cookie = (uint64_t)off;
	size_t used = 0, shown_count = 0;
	int r;

	if (!buf || !shown) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (; (r = entry_at(fs, folder, cookie, &entry)) > 0; cookie = entry.next) {
		size_t n = add_entry(req, &entry, buf + used, size - used, plus, cookie);

		if (n > size - used)
			break;
		used += n;
		/* What takes no room is not in the reply, and the kernel does not know it. */
		if (plus && n)
			shown[shown_count++] = entry.node;
	}
	/* Behind what is shown an error waits for the next call. */
	if (r < 0 && used == 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_buf(req, buf, used);
	while (shown_count)
		check_shown(fs, shown[--shown_count]);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

/* ---- removing ---- */

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct wloadfs *fs = fs_of(req);
	struct node node;
	int r = tree_lookup(fs, node_from_id(parent), name, &node);

	if (r < 0)
		fuse_reply_err(req, -r);
	else if (node.kind == NODE_TENSOR || node.kind == NODE_NPY)
		mark_unlink(fs, req, node);
	else if (node.kind == NODE_FUSED_FILE)
		fused_unlink(fs, req, node);
	else
		fuse_reply_err(req, EPERM);
}

/* Removes an emptied folder of a view; `restore` brings it back. */
static int remove_folder(struct wloadfs *fs, struct node folder)
{
	_Atomic uint8_t *life = tree_life(fs, folder);
	int r;
	LOCK_SCOPE(&fs->lock);

	if (!life)
		return -EPERM;
	r = tree_is_empty(fs, folder);
	if (r <= 0)
		return r < 0 ? r : -ENOTEMPTY;
	if (atomic_load(life) == folder.life)
		atomic_fetch_add(life, 1);
	return 0;
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct wloadfs *fs = fs_of(req);
	struct node node;
	int r = tree_lookup(fs, node_from_id(parent), name, &node);

	if (r == 0)
		r = remove_folder(fs, node);
	fuse_reply_err(req, -r);
}

/* ---- attributes by name ---- */

static void reply_bytes(fuse_req_t req, const char *bytes, size_t len, size_t room)
{
	if (room == 0)
		fuse_reply_xattr(req, len);
	else if (len > room)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, bytes, len);
}

static int xattr_of(const struct wloadfs *fs, struct node node, const char *name, struct text *text)
{
	if (node.kind == NODE_TENSOR || node.kind == NODE_NPY)
		return xattr_value(fs, node.index, name, text);
	if (node.kind == NODE_FUSED_FILE)
		return fused_xattr_value(fs, node, name, text);
	return xattr_none(name);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct text text CLEANUP(text_free) = {0};
	int r = xattr_of(fs_of(req), node_from_id(ino), name, &text);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_bytes(req, text.s, text.len, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct node node = node_from_id(ino);
	const char *names = NULL;
	size_t len = 0;

	if (node.kind == NODE_TENSOR || node.kind == NODE_NPY)
		len = xattr_list(&names);
	else if (node.kind == NODE_FUSED_FILE)
		len = fused_xattr_list(&names);
	reply_bytes(req, names, len, size);
}

/* ---- what would write ---- */

static void op_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			    dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
			     fuse_ino_t new_parent, const char *new_name, unsigned int flags)
{
	(void)parent, (void)name, (void)new_parent, (void)new_name, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino, (void)parent, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			     struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			       size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	fuse_reply_err(req, EROFS);
}

static void op_refuse_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
				struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)off, (void)len, (void)fi;
	fuse_reply_err(req, EROFS);
}

const struct fuse_lowlevel_ops ops_table = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.statfs = op_statfs,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.mknod = op_refuse_mknod,
	.mkdir = op_refuse_mkdir,
	.symlink = op_refuse_symlink,
	.rename = op_refuse_rename,
	.link = op_refuse_link,
	.create = op_refuse_create,
	.setxattr = op_refuse_setxattr,
	.removexattr = op_refuse_removexattr,
	.fallocate = op_refuse_fallocate,
};
