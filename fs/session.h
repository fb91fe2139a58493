/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_SESSION_H
#define WLOADFS_SESSION_H

/* One mount from beginning to end: session, mountpoint, loop, teardown. */

#include "fs/fs.h"
#include "fs/cmdline.h"

/* Mounts fs at mountpoint and serves it until it is unmounted or a signal ends it.
 *
 * mountpoint  absolute
 * ready       called once mounted, right before requests are served
 *
 * Returns 0, or -errno with err filled; nothing is left mounted in either case. */
int session_run(struct wloadfs *fs, struct cmdline *cmdline, const char *mountpoint,
		void (*ready)(void *ctx), void *ctx, struct wload_error *err);

#endif
