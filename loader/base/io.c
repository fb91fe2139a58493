/* SPDX-License-Identifier: Apache-2.0 */
/* Reading that neither a signal nor a short read ends early. */

#include <errno.h>
#include <unistd.h>

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
