/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_VIEW_H
#define WLOADFS_VIEW_H

/* A view is a gather list: literal bytes (a generated header) and extents of shards, in order.
 * Every file of the mount that is not one of the checkpoint's own is one, and reading walks it.
 * Those of many extents, fused/ and the ranks' checkpoints, have theirs in a plan (fused.h). */

#include <sys/types.h>

#include "fs/fs.h"
#include "fs/node.h"

#define VIEW_SEGMENTS_MAX 2

struct view_segment {
	char *literal;	 /* owned by the view; NULL for an extent */
	uint32_t shard;	 /* of an extent */
	uint64_t offset; /* from the shard file's first byte */
	uint64_t bytes;
};

struct view {
	struct view_segment segment[VIEW_SEGMENTS_MAX];
	unsigned int count;
};

/* Lists what a tensor's file is made of (NODE_TENSOR or NODE_NPY). Returns 0 or -ENOMEM. */
int view_of(const struct wloadfs *fs, struct node node, struct view *ret);
void view_free(struct view *view);

/* Reads up to len bytes at offset into buf.
 *
 * Returns how many (0 at the end), or -errno: -ESTALE when a shard ends too early. */
ssize_t view_read(const struct wloadfs *fs, const struct view *view, uint64_t offset, size_t len,
		  char *buf);

/* The first tensor of a shard that ends behind an offset of the file; the shard's end when none
 * does. */
uint32_t view_tensor_behind(const struct wloadfs *fs, uint32_t shard, uint64_t offset);

/* Reads up to len bytes of a shard. Returns how many (less at its end), or -errno. */
ssize_t view_read_shard(const struct wloadfs *fs, uint32_t shard, uint64_t offset, size_t len,
			char *buf);

/* How many bytes of a file are a shard's; what may be left out is a header. */
uint64_t view_bytes(const struct wloadfs *fs, struct node node);

/* Is what a file shows gone from its tree? Of a made shard, some of it, as far as is known. Waits
 * for nothing. */
bool view_is_gone(const struct wloadfs *fs, struct node node);

/* The same as view_read(), of any file that is a view. */
ssize_t view_read_node(const struct wloadfs *fs, struct node node, uint64_t offset, size_t len,
		       char *buf);

#endif
