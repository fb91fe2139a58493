/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_NEW_FILE_H
#define WLOAD_CLI_NEW_FILE_H

/* A file that is there as a whole or not at all: begun under a hidden name beside its own, so that
 * what can't be written is known before there is anything to write, and renamed when it is whole.
 */

#include "loader/base/text.h"
#include "wloadfs/error.h"

struct new_file {
	int fd;
	char *path, *partial; /* NULL: nothing was begun */
};

/* Begins FILE, which need not be there; if it is, it stays as it is until new_file_commit().
 *
 * Returns 0, -EINVAL when something is there that is not a regular file, -ENOENT when it is a link
 * to nothing, -EACCES when what is there
 * may not be written, or what the system said. new_file_close() either way. */
int new_file_open(const char *path, struct new_file *ret_file, struct wload_error *err);

/* Gives it what it holds and its name. Returns 0, -ENOMEM when the text failed, or what the system
 * said. */
int new_file_commit(struct new_file *file, const struct text *text, struct wload_error *err);

/* Without new_file_commit() before, removes what was begun. */
void new_file_close(struct new_file *file);

#endif
