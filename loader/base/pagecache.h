/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PAGECACHE_H
#define WLOAD_PAGECACHE_H

/* How much of a file is in the page cache. */

#include <stdbool.h>
#include <stdint.h>

struct pagecache_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

/* Asks the kernel (cachestat, Linux 6.5) about [lo, hi).
 *
 * Returns 0, -ENOSYS on older kernels, -EPERM where only the file's owner may ask. */
int pagecache_count(int fd, uint64_t lo, uint64_t hi, struct pagecache_counts *ret);

/* Bytes of [lo, hi), which begins on a page, that are cached now; by mincore where there is no
 * cachestat, or where it looks in the wrong place. *ret_bytes is 0 on failure.
 *
 * Returns 0, -EPERM where only the file's owner may ask, -ENOMEM, or what mmap said. */
int pagecache_bytes(int fd, uint64_t lo, uint64_t hi, uint64_t *ret_bytes);

/* The same by mincore alone. */
int pagecache_bytes_mapped(int fd, uint64_t lo, uint64_t hi, uint64_t *ret_bytes);

/* Are a file's pages another file's (overlayfs, FUSE passthrough)? What works through a mapping
 * finds them there; cachestat and sync_file_range on the descriptor see none. */
bool pagecache_is_stacked(int fd);

#endif
