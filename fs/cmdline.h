/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CMDLINE_H
#define WLOADFS_CMDLINE_H

/* The command line: wloadfs [cmdline] CHECKPOINT MOUNTPOINT, as FUSE users and mount(8) write it.
 */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>

#include "fs/fs.h"

struct cmdline {
	char *checkpoint; /* as given; allocated, like the next two */
	char *mountpoint;
	char *unknown;	  /* the first argument that means nothing; owned, like the texts below */
	char *shards;	  /* text of -o shards= */
	char *threads;	  /* text of -o max_threads= */
	char *ranks_text; /* of -o ranks= */
	char *budget;	  /* texts of -o budget=, prefetch= and consume= */
	char *prefetch;
	char *consume;
	char *tp, *ep, *layout, *names; /* of -o tp=, ep=, layout=, names= */
	char *rules;			/* path of -o rules=, absolute */
	enum shards_mode shards_mode;
	struct memory_asked asked;
	struct plan_asked plan; /* its rules_path is `rules` */
	int foreground, debug, single_thread, help, version;
	int clone_fd, trace;
	bool without[FEATURES];	  /* -o no_… */
	unsigned int max_threads; /* 0: chosen by the machine */
	uint32_t ranks;		  /* 0: none */
	struct fuse_args args;	  /* what libfuse is to know */
};

/* Parses the command line.
 *
 * Returns 0, or -EINVAL with err filled: a usage error. */
int cmdline_parse(int argc, char **argv, struct cmdline *ret, struct wload_error *err);
void cmdline_free(struct cmdline *cmdline);

/* Appends the text of --help. */
void cmdline_help(struct text *text);

#endif
