/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_UNTOUCHED_H
#define WLOAD_UNTOUCHED_H

/* Reading through the page cache and leaving it as it was: what was not cached at all before is
 * dropped afterwards; where part was, nothing is, for it is somebody's. Exact where the reader
 * reads no further than it is asked (POSIX_FADV_RANDOM). */

#include <stdbool.h>
#include <stdint.h>

struct untouched {
	int fd;
	uint64_t lo, hi; /* whole pages */
	bool drop;
};

/* Before the read of a range.
 *
 * fd  of the file whose pages they are; borrowed until untouched_after() */
struct untouched untouched_before(int fd, uint64_t offset, uint64_t bytes);

/* After it. */
void untouched_after(const struct untouched *before);

#endif
