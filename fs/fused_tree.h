/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FUSED_TREE_H
#define WLOADFS_FUSED_TREE_H

/* What tree.h says, of fused/ and of the files of a rank's checkpoint. */

#include "fs/tree.h"

/* Finds a parameter in fused/. Returns as tree_lookup(), or -EIO where there is no plan. */
int fused_tree_lookup(const struct wloadfs *fs, struct node folder, const char *name,
		      struct node *ret);
int fused_tree_entry(const struct wloadfs *fs, struct node folder, uint64_t cookie,
		     struct tree_entry *ret);

/* The files that a rank's folder has in the place of the checkpoint's shards and index. */
int made_tree_lookup(const struct wloadfs *fs, struct node folder, const char *name,
		     struct node *ret);
int made_tree_entry(const struct wloadfs *fs, struct node folder, uint32_t file,
		    struct tree_entry *ret);

/* Does a rank's folder have made files, and not the one of the checkpoint's own? */
bool made_tree_is_root(const struct wloadfs *fs, struct node folder);
bool made_tree_hides(const struct wloadfs *fs, struct node folder, uint32_t own);

/* What a file of either kind has of stat(): size, permissions, links and time.
 *
 * by_handle  as for tree_stat() */
int fused_tree_stat(const struct wloadfs *fs, struct node node, bool by_handle, struct stat *st);

#endif
