/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of fused/ and of the ranks' checkpoints (see fused.h). */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fs/fused.h"
#include "fs/view.h"
#include "loader/checkpoint/names.h"
#include "loader/transform/transform.h"

static uint32_t slot_of(const struct wloadfs *fs, struct node node)
{
	return node.kind == NODE_MADE ? plans_made_slot(fs, node.who)
				      : plans_fused_slot(fs, node.who);
}

uint64_t fused_bytes(const struct wloadfs *fs, struct node node)
{
	const struct plan_shape *shape = plans_shape(fs, slot_of(fs, node));

	if (!shape)
		return 0;
	return node.kind == NODE_MADE ? shape->made.bytes[node.index]
				      : shape->index.bytes[node.index];
}

/* A gather_reader. */
static int read_tensor(void *ctx, uint32_t tensor, uint64_t offset, size_t len, uint8_t *buf)
{
	const struct wloadfs *fs = ctx;
	struct wload_tensor t = wload_inventory_tensor(fs->inv, tensor);
	ssize_t n = view_read_shard(fs, t.shard, t.offset + offset, len, (char *)buf);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -ESTALE;
}

/* A gather_hint: the pieces are read from the disk together, not one after the other. */
static void read_soon(void *ctx, uint32_t tensor, uint64_t offset, size_t len)
{
	const struct wloadfs *fs = ctx;
	struct wload_tensor t = wload_inventory_tensor(fs->inv, tensor);

	(void)posix_fadvise(wload_checkpoint_shard(fs->ckpt, t.shard)->fd,
			    (off_t)(t.offset + offset), (off_t)len, POSIX_FADV_WILLNEED);
}

static int read_param(const struct wloadfs *fs, const struct wload_param *param, uint64_t offset,
		      size_t len, uint8_t *buf)
{
	struct gather gather = {param, read_tensor, (void *)(uintptr_t)fs,
				fs->budget ? NULL : read_soon};

	if (param->step_count)
		return transform_window(param, offset, offset + len, gather_rows, &gather, buf,
					NULL);
	return gather_read(&gather, offset, len, buf);
}

/* ---- a checkpoint's files ---- */

/* The parameters behind a shard's header. */
static int read_pieces(const struct wloadfs *fs, const struct planned *planned, uint32_t file,
		       uint64_t offset, size_t len, char *buf)
{
	const struct made *made = &planned->shape->made;
	struct made_piece piece;
	int r = 0;

	while (r == 0 && len && made_piece(made, planned->plan, file, offset, &piece)) {
		size_t n = piece.bytes < len ? (size_t)piece.bytes : len;

		r = read_param(fs, wload_plan_param(planned->plan, piece.param), piece.offset, n,
			       (uint8_t *)buf);
		offset += n;
		buf += n;
		len -= n;
	}
	return r;
}

static int read_made(const struct wloadfs *fs, const struct planned *planned, uint32_t file,
		     uint64_t offset, size_t len, char *buf)
{
	const struct made *made = &planned->shape->made;
	uint64_t text_len = made_is_index(made, file) ? made->bytes[file] : made->header_len[file];
	const uint8_t *text;
	size_t n = 0, all;
	int r = 0;

	if (offset < text_len) {
		n = text_len - offset < len ? (size_t)(text_len - offset) : len;
		r = plans_text(fs, planned, file, &text, &all);
		if (r == 0)
			memcpy(buf, text + offset, n);
	}
	if (r < 0 || n == len)
		return r;
	return read_pieces(fs, planned, file, offset + n, len - n, buf + n);
}

/* ---- either kind ---- */

ssize_t fused_read(const struct wloadfs *fs, struct node node, uint64_t offset, size_t len,
		   char *buf)
{
	uint64_t bytes = fused_bytes(fs, node);
	struct planned planned;
	int r;

	if (offset >= bytes)
		return 0;
	len = bytes - offset < len ? (size_t)(bytes - offset) : len;
	r = plans_get(fs, slot_of(fs, node), &planned);
	if (r < 0)
		return r;
	if (node.kind == NODE_MADE)
		r = read_made(fs, &planned, node.index, offset, len, buf);
	else
		r = read_param(fs, wload_plan_param(planned.plan, node.index), offset, len,
			       (uint8_t *)buf);
	plans_put(fs, planned.slot);
	return r < 0 ? r : (ssize_t)len;
}

char *fused_path(const struct wloadfs *fs, struct node node)
{
	char name[NAME_FILE_MAX + 1], *path = NULL;
	const char *param;
	struct planned planned;

	if (plans_get(fs, slot_of(fs, node), &planned) < 0)
		return NULL;
	if (node.kind == NODE_MADE) {
		made_name(&planned.shape->made, node.index, name);
	} else {
		param = wload_plan_param(planned.plan, node.index)->name;
		name_to_file(param, strlen(param), "", name);
	}
	plans_put(fs, planned.slot);
	if (asprintf(&path, "%s%s", node.kind == NODE_MADE ? "" : "fused/", name) < 0)
		return NULL;
	return path;
}

/* Tells of the parameters that a shard's bytes [offset, end) are of. */
static void touch_pieces(const struct planned *planned, uint32_t file, uint64_t offset,
			 uint64_t end, gather_visit visit, void *ctx)
{
	const struct made *made = &planned->shape->made;
	struct made_piece piece;

	if (made_is_index(made, file))
		return;
	if (offset < made->header_len[file])
		offset = made->header_len[file];
	while (offset < end && made_piece(made, planned->plan, file, offset, &piece)) {
		uint64_t n = piece.bytes < end - offset ? piece.bytes : end - offset;

		gather_touched(wload_plan_param(planned->plan, piece.param), piece.offset, n, visit,
			       ctx);
		offset += n;
	}
}

void fused_touched(const struct wloadfs *fs, struct node node, uint64_t offset, uint64_t len,
		   gather_visit visit, void *ctx)
{
	struct planned planned;

	if (plans_get(fs, slot_of(fs, node), &planned) < 0)
		return;
	if (node.kind == NODE_MADE)
		touch_pieces(&planned, node.index, offset, offset + len, visit, ctx);
	else
		gather_touched(wload_plan_param(planned.plan, node.index), offset, len, visit, ctx);
	plans_put(fs, planned.slot);
}

/* ---- are the shards what they were? ---- */

struct checking {
	const struct wloadfs *fs;
	uint32_t last; /* shard that was looked at last: neighbours mostly share one */
	int result;
};

static void check_tensor(void *ctx, uint32_t tensor, uint64_t lo, uint64_t hi)
{
	struct checking *checking = ctx;
	uint32_t shard = wload_inventory_tensor(checking->fs->inv, tensor).shard;

	(void)lo;
	(void)hi;
	if (shard == checking->last || checking->result < 0)
		return;
	checking->last = shard;
	checking->result = wload_checkpoint_check(checking->fs->ckpt, shard, NULL);
}

int fused_check(const struct wloadfs *fs, struct node node)
{
	struct checking checking = {.fs = fs, .last = UINT32_MAX};

	fused_touched(fs, node, 0, fused_bytes(fs, node), check_tensor, &checking);
	return checking.result;
}
