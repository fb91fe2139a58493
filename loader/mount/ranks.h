/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MOUNT_RANKS_H
#define WLOAD_MOUNT_RANKS_H

/* A mount's ranks (-o ranks=N), as paths and stats.json tell of them. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

/* Is "PARENT/NAME" a rank's folder, "/ranks/R", in a mount's own tree?
 *
 * parent   absolute; "/" adds nothing
 * rest     "", or "/…" behind it
 * ret_rank written only then */
bool ranks_path(const char *parent, const char *rest, uint32_t *ret_rank);

struct ranks {
	bool of_rank;	/* the text is that of a rank's folder, */
	uint32_t rank;	/* this one's */
	uint32_t ranks; /* that the mount has; 0: none, or a daemon that knows of none */

	/* What a rank's folder is a checkpoint of (-o tp=); tp 0: it is laid out like the root. */
	uint32_t tp, ep;
	char *layout; /* its name; NULL: not told */
	char *rules;  /* path of the rules that the mount was given; NULL: none */
};

/* Reads the members of a stats.json. Returns 0, -EBADMSG or -ENOMEM; ranks_free() either way. */
int ranks_parse(const char *text, size_t len, struct ranks *ret_ranks, struct wload_error *err);

void ranks_free(struct ranks *ranks);

#endif
