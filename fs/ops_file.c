/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE operations on open files. A tensor's handle is its node; a control file's is a struct
 * control_handle; the checkpoint's own files are counted in ownfile.c. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fs/ahead.h"
#include "fs/budget.h"
#include "fs/fused_mark.h"
#include "fs/mark.h"
#include "fs/control.h"
#include "fs/node.h"
#include "fs/ops.h"
#include "fs/ownfile.h"
#include "fs/peak.h"
#include "fs/trace.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"
#include "loader/base/io.h"

static struct control_handle *control_of(const struct fuse_file_info *fi)
{
	return (struct control_handle *)(uintptr_t)fi->fh;
}

static void open_control(struct wloadfs *fs, fuse_req_t req, struct node node,
			 struct fuse_file_info *fi)
{
	struct control_handle *handle;
	int r = control_open(fs, node, fi->flags, &handle);

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	fi->fh = (uintptr_t)handle;
	fi->direct_io = 1;
	fi->nonseekable = control_is_stream((enum control_file)node.index);
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) == -ENOENT)
		control_release(fs, handle);
}

static bool is_made_of_many(struct node node)
{
	return node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE;
}

static int take_handle(struct wloadfs *fs, struct node node)
{
	int r;

	if (is_made_of_many(node))
		return fused_open(fs, node);
	r = wload_checkpoint_check(fs->ckpt, wload_inventory_tensor(fs->inv, node.index).shard,
				   NULL);
	return r < 0 ? r : mark_open(fs, node);
}

static void release_handle(struct wloadfs *fs, struct node node)
{
	if (is_made_of_many(node))
		fused_release(fs, node);
	else
		mark_release(fs, node);
}

static void open_view(struct wloadfs *fs, fuse_req_t req, struct node node,
		      struct fuse_file_info *fi)
{
	int r = take_handle(fs, node);

	if (r == -ENOENT)
		trace_missing(fs, node, fuse_req_ctx(req)->pid);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	trace_open(fs, node, fuse_req_ctx(req)->pid);
	peak_touch(fs);
	if (fs->budget)
		budget_open(fs);
	fi->direct_io = feature_on(&fs->features, FEATURE_DIRECT_MMAP) && !fs->budget;
	fi->keep_cache = !fi->direct_io;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) == -ENOENT)
		release_handle(fs, node);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct wloadfs *fs = fs_of(req);
	struct node node = node_from_id(ino);

	if (node.kind != NODE_CONTROL &&
	    ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	switch (node.kind) {
	case NODE_TENSOR:
	case NODE_NPY:
	case NODE_FUSED_FILE:
	case NODE_MADE:
		open_view(fs, req, node, fi);
		break;
	case NODE_CONTROL:
		open_control(fs, req, node, fi);
		break;
	case NODE_OWN:
		ownfile_open(fs, req, node.index, fi);
		break;
	default:
		fuse_reply_err(req, EISDIR);
	}
}

/* A worker's buffer for READ replies, kept for its life: a fresh one of 1 MiB a request would be
 * zeroed by the kernel every time. The key is the one thing here that is the process's: libfuse's
 * threads have no other place that is freed with them. */
struct read_buffer {
	char *buf;
	size_t len;
};

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void free_buffer(void *p)
{
	struct read_buffer *buffer = p;

	free(buffer->buf);
	free(buffer);
}

static void make_buffer_key(void)
{
	(void)pthread_key_create(&buffer_key, free_buffer);
}

/* Returns one with room for len bytes and for what is read ahead, or NULL. */
static struct read_buffer *read_buffer(size_t len)
{
	struct read_buffer *buffer;

	pthread_once(&buffer_once, make_buffer_key);
	buffer = pthread_getspecific(buffer_key);
	if (!buffer) {
		buffer = calloc(1, sizeof(*buffer));
		if (!buffer || pthread_setspecific(buffer_key, buffer) != 0) {
			free(buffer);
			return NULL;
		}
	}
	if (len < AHEAD_PIECE_BYTES)
		len = AHEAD_PIECE_BYTES;
	if (buffer->len < len) {
		free(buffer->buf);
		buffer->len = 0;
		buffer->buf = aligned_alloc(4096, (len + 4095) / 4096 * 4096);
		if (buffer->buf)
			buffer->len = len;
	}
	return buffer->buf ? buffer : NULL;
}

static ssize_t read_view(struct wloadfs *fs, struct node node, uint64_t offset, size_t size,
			 struct read_buffer *buffer, const char **ret_bytes)
{
	char *before = buffer->buf;
	ssize_t n = -EAGAIN;

	*ret_bytes = buffer->buf;
	/* Of cached files the kernel reads ahead itself. */
	if (feature_on(&fs->features, FEATURE_DIRECT_MMAP))
		n = ahead_take(fs, node, offset, size, &buffer->buf, ret_bytes);
	if (buffer->buf != before)
		buffer->len = AHEAD_PIECE_BYTES;
	if (n < 0)
		n = view_read_node(fs, node, offset, size, buffer->buf);
	/* A descriptor that outlives its tensor reads on, and leaves nothing behind. */
	if (n > 0 && is_made_of_many(node))
		fused_after_read(fs, node, offset, (uint64_t)n);
	else if (n > 0 && fs_is_consumed(fs, node.index))
		evict_tensor(fs, node.index);
	return n;
}

static ssize_t read_own(struct wloadfs *fs, uint32_t entry, uint64_t offset, size_t size, char *buf)
{
	ssize_t n = budget_covers(fs, (struct node){.kind = NODE_OWN, .index = entry})
			    ? view_read_shard(fs, fs->own.entry[entry].shard, offset, size, buf)
			    : io_read_at(ownfile_fd(fs, entry), buf, size, offset);

	if (n > 0)
		served_after_read(fs, entry, offset, (uint64_t)n);
	return n;
}

void ops_answer_read(struct wloadfs *fs, fuse_req_t req, struct node node, uint64_t offset,
		     size_t size)
{
	struct read_buffer *buffer = read_buffer(size);
	const char *bytes = buffer ? buffer->buf : NULL;
	ssize_t n;

	if (!buffer)
		n = -ENOMEM;
	else if (node.kind == NODE_OWN)
		n = read_own(fs, node.index, offset, size, buffer->buf);
	else
		n = read_view(fs, node, offset, size, buffer, &bytes);
	if (n < 0) {
		fuse_reply_err(req, (int)-n);
		return;
	}
	atomic_fetch_add(&fs->bytes_served, (uint64_t)n);
	trace_read(fs, node, fuse_req_ctx(req)->pid, offset, (uint64_t)n);
	peak_touch(fs);
	fuse_reply_buf(req, bytes, (size_t)n);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct wloadfs *fs = fs_of(req);
	struct node node = node_from_id(ino);
	int r;

	if (node.kind == NODE_CONTROL) {
		control_read(fs, control_of(fi), req, size, (uint64_t)off);
		return;
	}
	r = budget_read(fs, req, node, (uint64_t)off, size);
	if (r == 0)
		ops_answer_read(fs, req, node, (uint64_t)off, size);
	else if (r != -EAGAIN)
		fuse_reply_err(req, -r);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	(void)off;
	if (node_from_id(ino).kind != NODE_CONTROL)
		fuse_reply_err(req, EROFS);
	else
		control_write(fs_of(req), control_of(fi), req, buf, size);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct wloadfs *fs = fs_of(req);
	struct node node = node_from_id(ino);

	if (node.kind == NODE_CONTROL)
		control_release(fs, control_of(fi));
	else if (node.kind == NODE_OWN)
		ownfile_release(fs, node.index);
	else
		release_handle(fs, node);
	fuse_reply_err(req, 0);
}
