/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TREE_H
#define WLOADFS_TREE_H

/* The mount's tree: which names a folder has, what is behind them, and their attributes. No I/O but
 * stat() of the checkpoint's own files. */

#include <sys/stat.h>

#include "fs/fs.h"
#include "fs/node.h"

/* Finds a name in a folder.
 *
 * ret  set for what is consumed, too; else only on success
 *
 * Returns 0, -ENOENT (also for what is consumed), -ENOTDIR, -ENAMETOOLONG over 255 bytes. */
int tree_lookup(const struct wloadfs *fs, struct node parent, const char *name, struct node *ret);

/* Attributes, as stat() shows them. A consumed tensor that is still open has st_nlink 0.
 *
 * by_handle  asked for by way of an open file, so that it need not be told from a name
 *
 * Returns 0, or -ENOENT for a tensor that is consumed and not open. */
int tree_stat(const struct wloadfs *fs, struct node node, bool by_handle, struct stat *ret);

/* Says of a regular file how large it is, and what may be done with it. */
void tree_set_file(struct stat *st, mode_t mode, uint64_t bytes);

bool tree_is_folder(const struct wloadfs *fs, struct node node);

/* The permissions that the tensors of a shard show. */
mode_t tree_shard_mode(const struct wloadfs *fs, const struct stat *st);

/* A folder's life (node.h); NULL for folders that cannot be removed. */
_Atomic uint8_t *tree_life(const struct wloadfs *fs, struct node folder);

/* How long the kernel may keep a node's attributes, seconds. */
double tree_attr_timeout(const struct wloadfs *fs, struct node node);

/* One entry of a folder. */
struct tree_entry {
	struct node node;
	uint64_t next; /* cookie to go on behind it */
	const char *name;
	char name_buf[256];
};

/* The entry at or behind a cookie (0: the first). Cookies stay valid while names go.
 *
 * Returns 1, 0 behind the last, or as plans_get() where there is no plan of what is shown. */
int tree_entry(const struct wloadfs *fs, struct node folder, uint64_t cookie,
	       struct tree_entry *ret);

/* Whether a folder shows nothing any more. Returns 1 or 0, or as tree_entry(). */
int tree_is_empty(const struct wloadfs *fs, struct node folder);

/* The names that the mount's own folders take in the root; NULL ends the list. */
const char *const *tree_reserved(const struct wloadfs *fs);

#endif
