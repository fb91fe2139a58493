/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_UNCACHED_H
#define WLOADFS_UNCACHED_H

/* Reading a shard so that nothing of it stays in the page cache, for mounts whose clients' FUSE
 * pages are to be the only copy (budget.h).
 *
 * RWF_DONTCACHE (Linux 6.14; FEATURE_DONTCACHE) drops what the read itself brought in. What was
 * there before (a prefetch, another reader) is used, and dropped behind it by fadvise, which is
 * also the way of kernels and filesystems without the flag. Folios that reach past the range stay,
 * for the looks of budget.c. */

#include <stdint.h>
#include <sys/types.h>

#include "fs/features.h"

/* As io_read_at(), on a descriptor that is read without read-ahead. */
ssize_t uncached_read(struct features *features, int fd, void *buf, size_t len, uint64_t offset);

#endif
