/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_FOLDER_H
#define WLOAD_CHECKPOINT_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

/* Where a checkpoint is. Start from {.fd = -1}. */
struct folder {
	int fd;	    /* O_PATH */
	char *path; /* absolute */
	char *file; /* the one file that was named in it, or NULL */
};

/* What a folder holds: NULL-terminated lists of names, sorted bytewise. Start from {0}. */
struct folder_listing {
	char **shards;	/* *.safetensors, but neither consolidated* nor hidden */
	char **indexes; /* *.safetensors.index.json */
	size_t shard_count, index_count;
};

/* Resolves a path that names a folder or a file.
 *
 * Returns 0, or what the system said (ENOENT, EACCES …). */
int folder_open(const char *path, struct folder *ret_folder, struct wload_error *err);
void folder_close(struct folder *folder);

int folder_list(const struct folder *folder, struct folder_listing *ret, struct wload_error *err);
void folder_listing_clear(struct folder_listing *listing);

/* Opens a regular file of the folder for reading; a symlink is followed.
 *
 * Returns a descriptor, or what the system said without err filled, -EINVAL when it is none. */
int folder_open_file(const struct folder *folder, const char *name);

/* Reads a whole file of the folder, and leaves the page cache as it was.
 *
 * ret_text  allocated, NUL-terminated; given away
 * ret_len   the NUL not counted
 *
 * Returns 0, -E2BIG when it has over max bytes, -ENOMEM, or what the system said. */
int folder_read_file(const struct folder *folder, const char *name, size_t max, char **ret_text,
		     size_t *ret_len, struct wload_error *err);

#endif
