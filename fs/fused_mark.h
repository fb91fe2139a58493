/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FUSED_MARK_H
#define WLOADFS_FUSED_MARK_H

/* Consumption by fused/: what unlink() of a parameter's file does, and what a tensor's consumption
 * does to the files that are made of it. */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fs/fs.h"
#include "fs/node.h"

/* Removes a parameter from its tree, and answers the request from the evictor. */
void fused_unlink(struct wloadfs *fs, fuse_req_t req, struct node file);

/* Handles of parameters' files and of those of ranks' checkpoints, which keep their plan at hand.
 * fused_open() returns 0, -ENOENT (gone from its tree), -ESTALE, or what plans_get() says. */
int fused_open(struct wloadfs *fs, struct node file);
void fused_release(struct wloadfs *fs, struct node file);

/* Notes that the kernel knows a parameter's file. */
void fused_note_seen(struct wloadfs *fs, struct node file);

/* The parameters of which tensors of name ranks [first, end) were restored come back, in the trees
 * that the restoring speaks for. fs->lock held. */
void fused_restored(struct wloadfs *fs, uint32_t who, uint32_t first, uint32_t end);

/* ---- around a tensor's consumption (evict.h) ---- */

/* Makes the kernel ask again for the attributes of a tree's parameters that need the tensor. */
void fused_forget(struct wloadfs *fs, uint32_t tree, uint32_t tensor);

/* The same of one file. Any thread. */
void fused_forget_file(struct wloadfs *fs, struct node file);

/* What the kernel was told of them: SEEN_TENSOR, and SEEN_OPEN where it may hold pages of them, or
 * of the tree's checkpoint. */
uint8_t fused_seen(const struct wloadfs *fs, uint32_t tree, uint32_t tensor);

/* Is one of them open? */
bool fused_is_open(const struct wloadfs *fs, uint32_t tree, uint32_t tensor);

/* Unmaps and drops their pages, and those that the tree's checkpoint has of the tensor. Evictor
 * only. */
void fused_drop(struct wloadfs *fs, uint32_t tree, uint32_t tensor);

/* The same of one parameter's file, and of what the tree's checkpoint has of it. Evictor only. */
void fused_drop_file(struct wloadfs *fs, struct node file);

/* After a READ: what it brought back of consumed tensors goes again, from the shards at once, from
 * a rank's checkpoint at the next look (evict.h), since the reply that brings it to the reader
 * can't be taken back. Any thread. */
void fused_after_read(struct wloadfs *fs, struct node file, uint64_t offset, uint64_t len);

/* Has something of what is consumed been read again? And the look: drops it. Evictor only. */
bool fused_is_reread(const struct wloadfs *fs);
void fused_look_again(struct wloadfs *fs);

#endif
