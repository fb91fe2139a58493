/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_STATS_H
#define WLOADFS_STATS_H

/* .wload/stats.json: the mount's numbers, and which of the kernel's means it got to use. */

#include "fs/fs.h"

/* Makes the text, for the root or for a rank, which differ in what is consumed. Returns it, for
 * free(), or NULL when memory is short. */
char *stats_json(struct wloadfs *fs, uint32_t who, size_t *ret_len);

/* The daemon's own resident memory, bytes. */
uint64_t stats_daemon_resident(const struct wloadfs *fs);

#endif
