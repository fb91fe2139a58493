/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_OWN_H
#define WLOADFS_OWN_H

/* The checkpoint's own files and folders, as they were when the mount began: a static tree, read
 * once. Symbolic links (Hugging Face cache snapshots) are followed then, and appear as what they
 * led to; none is followed later, when its target might lie below our own mountpoint and following
 * it would wait for ourselves. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "wloadfs/checkpoint.h"

struct own_entry {
	char *name; /* one path component; "" for the root */
	uint32_t parent;
	uint32_t first_child, child_count; /* children are neighbours, sorted by name */
	uint32_t shard;			   /* the shard that it is, or OWN_NO_SHARD */
	uint32_t depth;
	bool folder;
	mode_t mode; /* permission bits only */
	gid_t gid;
	int link_fd; /* O_PATH, of what a symbolic link led to when the mount began; else -1 */
	uint64_t bytes;
	uint64_t dev, ino;
	struct timespec mtime;
};

#define OWN_NO_SHARD UINT32_MAX
#define OWN_NONE     UINT32_MAX

/* More entries, or deeper folders, than any checkpoint has: what a mistaken path would bring. */
#define OWN_ENTRIES_MAX 1000000u
#define OWN_DEPTH_MAX	32u

struct own {
	struct own_entry *entry; /* [0] is the root */
	uint32_t count;
};

/* Names what is left out, and why; one line without newline. */
typedef void (*own_warn)(void *ctx, const char *text);

/* Reads the tree below the checkpoint's folder (or, when one file was opened, just that file).
 *
 * skip_dev, skip_ino  a folder to leave out: the mountpoint, when it lies inside
 * reserved            names in the root that the mount's own folders take; NULL ends the list
 * warn                told of each hidden, dangling, special or looping entry
 *
 * Returns 0, -E2BIG, -ENOMEM, or what the system said. */
int own_read(const struct wload_checkpoint *ckpt, uint64_t skip_dev, uint64_t skip_ino,
	     const char *const *reserved, own_warn warn, void *warn_ctx, struct own *ret,
	     struct wload_error *err);
void own_free(struct own *own);

/* The child of that name, or OWN_NONE. */
uint32_t own_find(const struct own *own, uint32_t folder, const char *name);

/* The entry's path from the root, allocated, without a leading slash ("." for the root itself). */
char *own_path(const struct own *own, uint32_t index);

/* stat() of the entry now, on the disk. Returns 0 or -errno. */
int own_stat(const struct own *own, const struct wload_checkpoint *ckpt, uint32_t index,
	     struct stat *ret);

/* Opens the entry for reading; a shard is the very file that was opened as one, whatever its name
 * leads to now.
 *
 * Returns a descriptor that the caller owns, or -errno. */
int own_open_file(const struct own *own, const struct wload_checkpoint *ckpt, uint32_t index);

#endif
