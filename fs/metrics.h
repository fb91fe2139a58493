/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_METRICS_H
#define WLOADFS_METRICS_H

/* .wload/metrics: the numbers of stats.json for Prometheus, with series for each shard where there
 * are at most METRICS_SHARDS_MAX, and none for tensors. */

#include "fs/fs.h"

#define METRICS_SHARDS_MAX 1024u

/* Makes the text. Returns it, for free(), or NULL when memory is short. */
char *metrics_text(struct wloadfs *fs, uint32_t who, size_t *ret_len);

#endif
