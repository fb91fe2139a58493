/* SPDX-License-Identifier: Apache-2.0 */
/* Evicts one file's range from the page cache (see residency.h). */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/residency.h"
#include "loader/base/cleanup.h"
#include "loader/base/pagecache.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21 /* Linux 5.4 */
#endif

static uint64_t page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int as_reason(int error)
{
	return error == EINVAL || error == ENOSYS ? FEATURE_MISSING : error;
}

/* MADV_POPULATE_READ and MADV_PAGEOUT on a page of a file. Returns 0 or an errno. */
static int try_split(int fd)
{
	size_t page = (size_t)page_bytes();
	char *map = mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0);
	int error = 0;

	if (map == MAP_FAILED)
		return errno;
	if (madvise(map, page, MADV_POPULATE_READ) < 0 || madvise(map, page, MADV_PAGEOUT) < 0)
		error = errno;
	(void)munmap(map, page);
	return error;
}

void residency_probe(struct features *features)
{
	CLEANUP_FD int fd = memfd_create("wloadfs-probe", MFD_CLOEXEC);
	struct pagecache_counts counts;
	int r;

	if (fd < 0 || ftruncate(fd, (off_t)page_bytes()) < 0)
		return; /* then the files themselves will tell */
	r = pagecache_count(fd, 0, page_bytes(), &counts);
	if (r < 0)
		feature_off(features, FEATURE_CACHESTAT, as_reason(-r));
	r = try_split(fd);
	if (r)
		feature_off(features, FEATURE_SPLIT, as_reason(r));
}

int residency_bytes(const struct features *features, int fd, uint64_t lo, uint64_t hi,
		    uint64_t *ret_bytes)
{
	return feature_on(features, FEATURE_CACHESTAT)
		       ? pagecache_bytes(fd, lo, hi, ret_bytes)
		       : pagecache_bytes_mapped(fd, lo, hi, ret_bytes);
}

static uint64_t left_in(const struct features *features, int fd, uint64_t lo, uint64_t hi)
{
	uint64_t bytes;

	return residency_bytes(features, fd, lo, hi, &bytes) == 0 ? bytes : 0;
}

/* Is all of a range on disk, as far as the kernel says? */
static bool is_clean(const struct features *features, int fd, uint64_t lo, uint64_t hi)
{
	struct pagecache_counts counts;

	return feature_on(features, FEATURE_CACHESTAT) &&
	       pagecache_count(fd, lo, hi, &counts) == 0 && counts.dirty + counts.writeback == 0;
}

/* A shard that was written a moment ago has pages that no eviction takes before they are on disk.
 */
static void write_out(const struct features *features, int fd, uint64_t lo, uint64_t hi)
{
	if (pagecache_is_stacked(fd))
		(void)fdatasync(fd);
	else if (is_clean(features, fd, lo, hi))
		return;
	else
		(void)sync_file_range(fd, (off64_t)lo, (off64_t)(hi - lo),
				      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
					      SYNC_FILE_RANGE_WAIT_AFTER);
	(void)posix_fadvise(fd, (off_t)lo, (off_t)(hi - lo), POSIX_FADV_DONTNEED);
}

/* Pages out one stretch of resident pages of a mapping. */
static void page_out(char *start, size_t len)
{
	if (madvise(start, len, MADV_POPULATE_READ) == 0)
		(void)madvise(start, len, MADV_PAGEOUT);
}

/* Splits the folios in [lo, hi) (at most FOLIO_BYTES_MAX) that fadvise had to leave. Only what is
 * resident is mapped in, and without read-ahead, so nothing is read back. */
static void split_and_page_out(int fd, uint64_t lo, uint64_t hi)
{
	const size_t page = (size_t)page_bytes();
	unsigned char pages[FOLIO_BYTES_MAX / 4096];
	size_t len = (size_t)(hi - lo), count = (len + page - 1) / page, end;
	char *map = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, fd, (off_t)lo);

	if (map == MAP_FAILED)
		return;
	(void)madvise(map, len, MADV_RANDOM);
	if (mincore(map, len, pages) == 0)
		for (size_t at = 0; at < count; at = end) {
			for (end = at; end < count && pages[end] & 1; end++)
				;
			if (end > at)
				page_out(map + at * page, (end - at) * page);
			else
				end++;
		}
	(void)munmap(map, len);
}

uint64_t residency_drop(const struct features *features, int fd, uint64_t lo, uint64_t hi,
			uint64_t *ret_left)
{
	uint64_t before = 0, left;
	int r = residency_bytes(features, fd, lo, hi, &before);

	*ret_left = 0;
	if (lo >= hi || (r == 0 && before == 0))
		return 0;
	(void)posix_fadvise(fd, (off_t)lo, (off_t)(hi - lo), POSIX_FADV_DONTNEED);
	if (r < 0) {
		*ret_left = RESIDENCY_UNKNOWN;
		return 0;
	}
	left = left_in(features, fd, lo, hi);
	if (left) {
		write_out(features, fd, lo, hi);
		left = left_in(features, fd, lo, hi);
	}
	if (left && feature_on(features, FEATURE_SPLIT)) {
		uint64_t head = hi - lo < FOLIO_BYTES_MAX ? hi : lo + FOLIO_BYTES_MAX;
		uint64_t tail = hi - head < FOLIO_BYTES_MAX ? head : hi - FOLIO_BYTES_MAX;

		split_and_page_out(fd, lo, head);
		if (tail < hi)
			split_and_page_out(fd, tail, hi);
		(void)posix_fadvise(fd, (off_t)lo, (off_t)(hi - lo), POSIX_FADV_DONTNEED);
		left = left_in(features, fd, lo, hi);
	}
	*ret_left = left;
	return before > left ? before - left : 0;
}
