/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_MARK_H
#define WLOADFS_MARK_H

/* mark_consumed and restore: what unlink() and .wload/consume do. */

#include "fs/commands.h"
#include "fs/evict.h"
#include "fs/node.h"

/* Drops the claim of the tree that a tensor's file lies in, for unlink(), and answers the request,
 * now or from the evictor. */
void mark_unlink(struct wloadfs *fs, fuse_req_t req, struct node file);

/* Handles of tensor files. mark_open() returns 0 or -ENOENT (gone from its tree). */
int mark_open(struct wloadfs *fs, struct node file);
void mark_release(struct wloadfs *fs, struct node file);

/* Has the kernel look up every name again. Returns false where it can't. */
bool mark_increment_epoch(struct wloadfs *fs);

/* Tensors that change together: a bit each, so that no list of commands makes it larger. */
struct mark_changed {
	uint32_t who; /* in whose tree */
	uint64_t *bits;
	uint32_t tensors;
};

/* Returns 0 or -ENOMEM; mark_changed_free() either way. */
int mark_changed_init(struct mark_changed *changed, const struct wloadfs *fs, uint32_t who);
void mark_changed_free(struct mark_changed *changed);

/* Drops the tree's claim of a tensor, by unlink(). Returns whether it had one. fs->lock held. */
bool mark_changed_drop(struct wloadfs *fs, struct mark_changed *changed, uint32_t tensor,
		       int32_t pid);

/* Clears every cache of those that changed. Evictor only. */
void mark_changed_evict(struct wloadfs *fs, const struct mark_changed *changed);

/* A command, resolved: name ranks [first, end) for all but COMMAND_KEY and COMMAND_LOADED, which
 * have a tensor. */
struct action {
	enum command_verb verb;
	uint32_t first, end;
	uint32_t tensor;
	uint32_t prefix_len; /* bytes that the names begin with, their dot not counted; 0: none */
	int32_t pid;	     /* who asked; set by the caller of mark_run() */
	uint64_t changed; /* set by mark_run(): tensors that came or went in the claimant's tree */
};

/* Finds what a command is about. Returns 0, or -EINVAL (no such key, a name that tensors/ could not
 * have, a prefix of no bytes), -ENOMEM. A prefix that nothing is under is fine. */
int mark_resolve(const struct wloadfs *fs, const struct command *command, struct action *ret);

/* Carries out a claimant's actions, in order: all of them, or none when memory is short (-ENOMEM).
 * Evictor only. */
int mark_run(struct wloadfs *fs, uint32_t who, struct action *actions, size_t count);

#endif
