/* SPDX-License-Identifier: Apache-2.0 */
/* Reads past the page cache (uncached.h). */

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/uncached.h"
#include "loader/base/io.h"

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* Linux 6.14, include/uapi/linux/fs.h */
#endif

static ssize_t read_once(int fd, char *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		struct iovec into = {buf + done, len - done};
		ssize_t n = preadv2(fd, &into, 1, (off_t)(offset + done), RWF_DONTCACHE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t uncached_read(struct features *features, int fd, void *buf, size_t len, uint64_t offset)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t lo = offset / page * page, hi = (offset + len + page - 1) / page * page;
	ssize_t n = -EOPNOTSUPP;

	if (feature_on(features, FEATURE_DONTCACHE)) {
		n = read_once(fd, buf, len, offset);
		if (n == -EOPNOTSUPP || n == -EINVAL) {
			feature_off(features, FEATURE_DONTCACHE, FEATURE_MISSING);
			n = -EOPNOTSUPP;
		}
	}
	if (n == -EOPNOTSUPP)
		n = io_read_at(fd, buf, len, offset);
	(void)posix_fadvise(fd, (off_t)lo, (off_t)(hi - lo), POSIX_FADV_DONTNEED);
	return n;
}
