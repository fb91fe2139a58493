/* SPDX-License-Identifier: Apache-2.0 */
/* Page-cache residency by cachestat, else by mincore.
 *
 * cachestat: Linux mm/filemap.c, since 6.5, number 451 on every architecture; EPERM unless the
 * caller owns the file, may write it or has CAP_FOWNER over it. mincore has the same rule, but says
 * "all resident" where it refuses, so the rule is asked of others first. Being root is none: one of
 * a user namespace, or of a container without CAP_FOWNER, rules no file of another user's.
 *
 * On overlayfs cachestat counts the pages of the overlay's own inode, which has none: those that
 * readers bring in are the layer's file's. A mapping is one of that file (fs/backing-file.c), so
 * mincore counts right. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/pagecache.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#define WINDOW_PAGES 16384u /* for mincore: one byte a page, whatever the file's size */

/* statfs f_type (linux/magic.h) */
#define MAGIC_OVERLAYFS 0x794c7630
#define MAGIC_FUSE	0x65735546

struct cachestat_range {
	uint64_t offset, bytes;
};

int pagecache_count(int fd, uint64_t lo, uint64_t hi, struct pagecache_counts *ret)
{
	struct cachestat_range range = {lo, hi - lo};

	return syscall(SYS_cachestat, fd, &range, ret, 0) == 0 ? 0 : -errno;
}

bool pagecache_is_stacked(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && (s.f_type == MAGIC_OVERLAYFS || s.f_type == MAGIC_FUSE);
}

/* Does mincore tell us the truth? O_NOATIME is for whom it calls an owner (open(2)). */
static bool may_look(int fd)
{
	CLEANUP_FD int again = -1;
	char link[64];

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = open(link, O_RDONLY | O_CLOEXEC | O_NOATIME);
	return again >= 0 || faccessat(AT_FDCWD, link, W_OK, AT_EACCESS) == 0;
}

int pagecache_bytes_mapped(int fd, uint64_t lo, uint64_t hi, uint64_t *ret_bytes)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const uint64_t window = WINDOW_PAGES * page;
	CLEANUP_FREE unsigned char *pages = malloc(WINDOW_PAGES);
	uint64_t cached = 0;
	struct stat st;

	*ret_bytes = 0;
	if (!pages)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() && !may_look(fd))
		return -EPERM;
	for (uint64_t at = lo; at < hi; at += window) {
		size_t len = (size_t)(hi - at < window ? hi - at : window);
		void *map = mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, (off_t)at);

		if (map == MAP_FAILED)
			return -errno;
		if (mincore(map, len, pages) == 0)
			for (size_t i = 0; i < (len + page - 1) / page; i++)
				cached += pages[i] & 1 ? page : 0;
		(void)munmap(map, len);
	}
	*ret_bytes = cached;
	return 0;
}

int pagecache_bytes(int fd, uint64_t lo, uint64_t hi, uint64_t *ret_bytes)
{
	struct pagecache_counts counts;
	int r;

	*ret_bytes = 0;
	if (lo >= hi)
		return 0;
	r = pagecache_count(fd, lo, hi, &counts);
	if (r == -ENOSYS || (r == 0 && counts.cached == 0 && pagecache_is_stacked(fd)))
		return pagecache_bytes_mapped(fd, lo, hi, ret_bytes);
	if (r == 0)
		*ret_bytes = counts.cached * (uint64_t)sysconf(_SC_PAGESIZE);
	return r;
}
