/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_HOST_MEMORY_H
#define WLOAD_HOST_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

/* Host memory that may be taken now, and that there is: the least of what the system and each
 * cgroup above this process leave.
 *
 * Returns 0, or -EIO when /proc/meminfo can't be read. */
int host_memory_available(uint64_t *ret_free, uint64_t *ret_total, struct wload_error *err);

/* The most that this process's own cgroup held since it was made, whoever was in it, in bytes; 0
 * when there is none, or it is the root, which everything is in. */
uint64_t host_memory_cgroup_peak(void);

/* Resident bytes of a process, 0: this one. 0 when it is gone. */
uint64_t host_memory_resident(int pid);

#endif
