/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and reads gather lists (see view.h). */

#include <errno.h>
#include <string.h>

#include "fs/fused.h"
#include "fs/npy.h"
#include "fs/prefetch.h"
#include "fs/uncached.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"
#include "loader/base/io.h"

int view_of(const struct wloadfs *fs, struct node node, struct view *ret)
{
	struct wload_tensor tensor = wload_inventory_tensor(fs->inv, node.index);
	struct view view = {0};

	if (node.kind == NODE_NPY) {
		size_t len;
		char *header = npy_header(&tensor, &len);

		if (!header)
			return -ENOMEM;
		view.segment[view.count++] = (struct view_segment){.literal = header, .bytes = len};
	}
	view.segment[view.count++] = (struct view_segment){
		.shard = tensor.shard, .offset = tensor.offset, .bytes = tensor.bytes};
	*ret = view;
	return 0;
}

uint64_t view_bytes(const struct wloadfs *fs, struct node node)
{
	if (node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE)
		return fused_bytes(fs, node);
	return wload_inventory_tensor(fs->inv, node.index).bytes;
}

static bool is_any_consumed(struct wloadfs *fs)
{
	LOCK_SCOPE(&fs->lock);

	return fs->claims.consumed.tensors != 0;
}

bool view_is_gone(const struct wloadfs *fs, struct node node)
{
	if (node.kind == NODE_FUSED_FILE)
		return fused_is_gone(fs, node);
	if (node.kind == NODE_MADE)
		return is_any_consumed((struct wloadfs *)fs);
	return fs_is_done(fs, node.who, node.index);
}

void view_free(struct view *view)
{
	for (unsigned int i = 0; i < view->count; i++)
		free(view->segment[i].literal);
	view->count = 0;
}

uint32_t view_tensor_behind(const struct wloadfs *fs, uint32_t shard, uint64_t offset)
{
	const struct wload_shard *s = wload_checkpoint_shard(fs->ckpt, shard);
	uint32_t lo = s->first, hi = s->end;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct wload_tensor t = wload_inventory_tensor(fs->inv, mid);

		if (t.offset + t.bytes > offset)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

ssize_t view_read_shard(const struct wloadfs *fs, uint32_t shard, uint64_t offset, size_t len,
			char *buf)
{
	int fd = wload_checkpoint_shard(fs->ckpt, shard)->fd;

	struct wloadfs *owner = (struct wloadfs *)fs;
	ssize_t n;

	if (!fs->budget)
		return io_read_at(fd, buf, len, offset);
	n = uncached_read(&owner->features, fd, buf, len, offset);
	if (n > 0)
		prefetch_was_read(owner, shard, offset, (uint64_t)n);
	return n;
}

static int read_segment(const struct wloadfs *fs, const struct view_segment *segment,
			uint64_t offset, size_t len, char *buf)
{
	ssize_t n;

	if (segment->literal) {
		memcpy(buf, segment->literal + offset, len);
		return 0;
	}
	/* The shard's descriptor is FADV_RANDOM, so that this leaves single pages, which consuming
	 * drops. Not RWF_DONTCACHE, which would leave none: the shard's pages are the only copy,
	 * for every view and process (with a budget the FUSE pages are, see budget.h). Measured on
	 * 512 MiB, Linux 6.18, ext4: the first pass is as fast, each later one ran at 0.5 to 0.9
	 * GB/s from the disk instead of 2.5 to 6. */
	n = view_read_shard(fs, segment->shard, segment->offset + offset, len, buf);
	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -ESTALE;
}

ssize_t view_read(const struct wloadfs *fs, const struct view *view, uint64_t offset, size_t len,
		  char *buf)
{
	size_t done = 0;

	for (unsigned int i = 0; i < view->count && done < len; i++) {
		const struct view_segment *segment = &view->segment[i];
		uint64_t left;
		size_t n;
		int r;

		if (offset >= segment->bytes) {
			offset -= segment->bytes;
			continue;
		}
		left = segment->bytes - offset;
		n = left < len - done ? (size_t)left : len - done;
		r = read_segment(fs, segment, offset, n, buf + done);
		if (r < 0)
			return r;
		done += n;
		offset = 0;
	}
	return (ssize_t)done;
}

ssize_t view_read_node(const struct wloadfs *fs, struct node node, uint64_t offset, size_t len,
		       char *buf)
{
	struct view view CLEANUP(view_free) = {0};
	int r;

	if (node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE)
		return fused_read(fs, node, offset, len, buf);
	r = view_of(fs, node, &view);
	return r < 0 ? r : view_read(fs, &view, offset, len, buf);
}
