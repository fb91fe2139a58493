/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <unistd.h>

#include "loader/base/pagecache.h"
#include "loader/base/untouched.h"

struct untouched untouched_before(int fd, uint64_t offset, uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), cached;
	struct untouched before = {.fd = fd,
				   .lo = offset / page * page,
				   .hi = (offset + bytes + page - 1) / page * page};

	before.drop = pagecache_bytes(fd, before.lo, before.hi, &cached) == 0 && cached == 0;
	return before;
}

void untouched_after(const struct untouched *before)
{
	if (before->drop)
		(void)posix_fadvise(before->fd, (off_t)before->lo, (off_t)(before->hi - before->lo),
				    POSIX_FADV_DONTNEED);
}
