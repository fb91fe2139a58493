/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_READAHEAD_H
#define WLOADFS_READAHEAD_H

/* How far the kernel reads ahead of files that are opened cached.
 *
 * A mount begins with 128 KiB, and an INIT reply can only lower that (Linux fs/fuse/inode.c,
 * process_init_reply()): each READ of a shard that is read past the page cache is then a wait for
 * the disk of its own. The mount's backing device information in sysfs can raise it, as root, once
 * INIT is over. A file takes it over when its open is answered, so the first open of a file that is
 * cached is in time. */

#include "fs/fs.h"

/* Lets the kernel read ahead bytes of the files that are opened from now on; the first call does
 * it. Any thread; asks nothing of the mount itself. What is in the way is FEATURE_READ_AHEAD's
 * reason. */
void readahead_widen(struct wloadfs *fs, uint64_t bytes);

#endif
