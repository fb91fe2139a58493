/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SOURCE_H
#define WLOAD_SOURCE_H

/* What is loaded: a mount or a plain checkpoint, opened.
 *
 * A mount says in its index.jsonl where its shards come from. A backing file that still is the one
 * that was mounted (path, device, inode) is read itself; else the mount's own file of that name.
 * Either must still have the size and the time of change that were mounted. Tensors' files are
 * never read one by one. Nor are the files that a rank's checkpoint is made of (-o tp=): there the
 * mount's own files are those of its .wload/checkpoint/, which are what they are made from. */

#include <stdbool.h>

#include "wloadfs/checkpoint.h"
#include "wloadfs/mount.h"
#include "wloadfs/plan.h"

struct source {
	struct wload_mount *mount; /* NULL: a plain checkpoint */
	char *root;		   /* the mount's path, NULL without one */
	char *files;		   /* the folder with the mount's own files */
	struct wload_checkpoint *ckpt;
	int daemon_pid;	      /* 0: none */
	bool of_rank;	      /* it is the folder of a rank of the mount: */
	uint32_t rank, ranks; /* this one, of so many */
	struct wload_rules
		*rules; /* that the rank's folder is made by; NULL: not looked at, or none */
	uint64_t consumed_before; /* tensors of the mount that were consumed already */
};

/* Opens PATH. Returns 0, or what wload_mount_open() and wload_checkpoint_open() return, -EBADMSG
 * when the mount's own files can't be understood, -ESTALE when a shard changed since it was
 * mounted. source_close() either way. */
int source_open(const char *path, struct source *ret_source, struct wload_error *err);
void source_close(struct source *source);

/* Which rank's share of it is loaded: rank_choose(), and of a folder that is a rank's checkpoint
 * what rank_take_slice() says, with the mount's rules where the caller has none.
 *
 * path    as the user named it
 * wanted  has what was asked for (rank: or WLOAD_RANK_OF_PATH); completed
 *
 * Returns 0, -EINVAL, or what wload_rules_load() says. */
int source_slice(struct source *source, const char *path, struct wload_plan_options *wanted,
		 struct wload_error *err);

/* Refuses a mount where a tensor that the plan needs is consumed.
 *
 * Returns 0, or -ESTALE naming the first one in disk order and how many there are. */
int source_refuse_consumed(const struct source *source, const struct wload_plan *plan,
			   struct wload_error *err);

#endif
