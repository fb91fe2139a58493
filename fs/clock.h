/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CLOCK_H
#define WLOADFS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Now, on the clock that no one sets. */
static inline uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
				 .tv_nsec = (long)(ns % 1000000000u)};
}

#endif
