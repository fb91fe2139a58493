/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CGROUP_H
#define WLOAD_CGROUP_H

/* Pure parsing of what /proc and the cgroup filesystem say about memory.
 *
 * Formats: proc(5) for meminfo, [pid]/cgroup, [pid]/mountinfo and [pid]/statm;
 * https://docs.kernel.org/admin-guide/cgroup-v2.html "memory.stat", and
 * https://docs.kernel.org/admin-guide/cgroup-v1/memory.html for version 1. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_PATH_MAX 4096

/* The folder of a process's memory cgroup, and where walking up from it ends. */
struct cgroup_folder {
	char path[CGROUP_PATH_MAX]; /* "/sys/fs/cgroup/memory/docker/abc" */
	size_t top_len;		    /* bytes of path that are the mount point itself */
	bool v1;
	bool root; /* no part of the tree: the root, or all that a namespace shows */
};

/* Finds the folder of the memory controller.
 *
 * self_cgroup  text of /proc/self/cgroup
 * mountinfo    text of /proc/self/mountinfo
 *
 * A container may see a part of the tree only: the mount's root is taken off the process's path,
 * and where the path does not begin with it, the mount point itself is the folder.
 *
 * Returns 0, or -ENOENT when neither version's memory controller is mounted. */
int cgroup_find(const char *self_cgroup, const char *mountinfo, struct cgroup_folder *ret_folder);

/* Steps to the parent; false at the top. */
bool cgroup_up(struct cgroup_folder *folder);

/* Reads a number; "max" and version 1's "no limit" (over 2^62) are UINT64_MAX.
 * Returns 0, or -EINVAL. */
int cgroup_parse_number(const char *text, uint64_t *ret_value);

/* Finds "KEY VALUE" (memory.stat) or "KEY:   VALUE kB" (meminfo, given back in bytes) at the
 * beginning of a line.
 *
 * Returns 0, or -ENOENT. */
int cgroup_parse_field(const char *text, const char *key, uint64_t *ret_value);

/* Resident pages from /proc/PID/statm. Returns 0, or -EINVAL. */
int cgroup_parse_statm(const char *text, uint64_t *ret_resident_pages);

/* What a cgroup leaves to take: its limit less what it holds for good. Page cache is given back
 * under pressure, so it counts as free. */
uint64_t cgroup_room(uint64_t limit, uint64_t usage, uint64_t page_cache);

#endif
