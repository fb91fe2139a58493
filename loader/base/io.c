/* SPDX-License-Identifier: Apache-2.0 */
/* Reading that neither a signal nor a short read ends early. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/io.h"

ssize_t io_read_at(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(offset + done));

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

ssize_t io_read_text(const char *path, char *buf, size_t cap)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -errno : io_read_at(fd, buf, cap - 1, 0);

	buf[len < 0 ? 0 : len] = '\0';
	return len;
}
