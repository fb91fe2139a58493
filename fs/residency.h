/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_RESIDENCY_H
#define WLOADFS_RESIDENCY_H

/* Dropping a range of one file from the page cache. Mechanism only;
 * which ranges are dead is decided in consumed.c.
 *
 * fadvise(DONTNEED) skips a folio that the range covers only partly, and read-ahead builds folios
 * up to 2 MiB; so what it leaves at the borders is split: mapped privately, populated where it is
 * resident, and given to MADV_PAGEOUT, which splits a folio that it holds only part of. Kernels
 * without MADV_POPULATE_READ (before 5.14) build no such folios. */

#include <stdint.h>

#include "fs/features.h"

/* Read-ahead never builds larger folios. */
#define FOLIO_BYTES_MAX (2u << 20)

/* What is left where only the file's owner, or CAP_FOWNER, may look. */
#define RESIDENCY_UNKNOWN UINT64_MAX

/* Finds out whether the kernel has what this uses: FEATURE_CACHESTAT, FEATURE_SPLIT. */
void residency_probe(struct features *features);

/* Bytes of [lo, hi), which begins on a page, that are cached now. Returns as pagecache_bytes(). */
int residency_bytes(const struct features *features, int fd, uint64_t lo, uint64_t hi,
		    uint64_t *ret_bytes);

/* Drops the pages of [lo, hi), bounds at page borders or at the file's end.
 *
 * ret_left  bytes of it that are still cached (mapped, pinned, locked, or never evictable), or
 *           RESIDENCY_UNKNOWN
 *
 * Returns how many bytes went. */
uint64_t residency_drop(const struct features *features, int fd, uint64_t lo, uint64_t hi,
			uint64_t *ret_left);

#endif
