/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FUSED_H
#define WLOADFS_FUSED_H

/* fused/: which parameters a tree has, and their bytes.
 *
 * A parameter is there until its file is removed, or a tensor that it is made of is gone from the
 * tree. Removing it drops the tree's claim of each tensor that no parameter of the tree needs any
 * more; with the last one, of all that are left. So a tensor that two parameters are made of goes
 * with the later one, and what no parameter needs (the experts of other ranks) with the last.
 *
 * A parameter's file is a gather list (gather.h), through the steps where it has some. So are the
 * files of a rank's checkpoint (made.h), which stay whole, as the checkpoint's own do: what is
 * consumed is read from the disk again, and leaves nothing cached. */

#include "fs/gather.h"
#include "fs/node.h"
#include "fs/plans.h"

struct fused_tree {
	_Atomic uint64_t *removed; /* a bit a parameter; changed under fs->lock */
	struct tensor_state *file; /* of each parameter's file: SEEN_TENSOR, SEEN_OPEN */
	uint32_t params;
};

/* Of each claimant; a tree of which nobody has seen fused/ has none. */
struct fused_state {
	struct fused_tree *_Atomic tree;
	_Atomic bool *_Atomic opened; /* of each made file: the kernel may hold pages of it */
	_Atomic bool reread;	      /* of what is consumed, since the last look */
};

/* Returns 0 or -ENOMEM. */
int fused_init(struct wloadfs *fs);
void fused_free(struct wloadfs *fs);

/* A tree's fused/, while somebody looks at it. */
struct fused_look {
	const struct wloadfs *fs; /* NULL: nothing */
	struct planned planned;
	struct fused_tree *tree;
	uint32_t who;
};

/* Returns 0, or what plans_get() says; fused_done() either way. */
int fused_look(const struct wloadfs *fs, uint32_t who, struct fused_look *ret);
void fused_done(struct fused_look *look);

/* Is the parameter there? */
bool fused_shows(const struct fused_look *look, uint32_t param);

/* Is a tree's parameter gone? Where that can't be told without waiting it is taken to be. */
bool fused_is_gone(const struct wloadfs *fs, struct node node);

/* A rank's checkpoint, while somebody looks at it. Returns and ends as fused_look(). */
struct made_look {
	const struct wloadfs *fs;
	struct planned planned;
	_Atomic bool *opened;
};

int made_look(const struct wloadfs *fs, uint32_t who, struct made_look *ret);
void made_done(struct made_look *look);

/* How large a file of either kind is, that somebody has looked up. */
uint64_t fused_bytes(const struct wloadfs *fs, struct node node);

/* Are all shards that a file of either kind has bytes of what they were? Returns 0 or -ESTALE. */
int fused_check(const struct wloadfs *fs, struct node node);

/* Reads up to len bytes of a file of either kind. Returns how many (0 at the end) or -errno. */
ssize_t fused_read(const struct wloadfs *fs, struct node node, uint64_t offset, size_t len,
		   char *buf);

/* Its path in its tree, allocated; NULL when it can't be told. */
char *fused_path(const struct wloadfs *fs, struct node node);

/* Tells which bytes of which tensors a READ of a file of either kind was made of. */
void fused_touched(const struct wloadfs *fs, struct node node, uint64_t offset, uint64_t len,
		   gather_visit visit, void *ctx);

#endif
