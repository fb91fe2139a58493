/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_OPTIONS_H
#define WLOADFS_OPTIONS_H

/* The command line: wloadfs [options] CHECKPOINT MOUNTPOINT, as FUSE users and mount(8) write it. */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "fs/fs.h"

struct options {
	char *checkpoint; /* as given; allocated, like the next two */
	char *mountpoint;
	char *shards; /* text of -o shards= */
	enum shards_mode shards_mode;
	int foreground, debug, single_thread, help, version;
	int no_direct_mmap;
	int clone_fd;
	unsigned int max_threads; /* 0: chosen by the machine */
	struct fuse_args args;	  /* what libfuse is to know */
};

/* Parses the command line.
 *
 * Returns 0, or -EINVAL with err filled: a usage error. */
int options_parse(int argc, char **argv, struct options *ret, struct wload_error *err);
void options_free(struct options *options);

/* The text of --help. */
extern const char options_help[];

#endif
