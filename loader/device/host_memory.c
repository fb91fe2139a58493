/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the system how much memory there is, left, and taken; cgroup.c understands the answers. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "loader/device/cgroup.h"
#include "loader/device/host_memory.h"

#define TEXT_MAX      ((size_t)16 << 10)
#define MOUNTINFO_MAX ((size_t)1 << 20)

static int own_cgroup(struct cgroup_folder *ret_folder)
{
	CLEANUP_FREE char *cgroup = malloc(TEXT_MAX);
	CLEANUP_FREE char *mounts = malloc(MOUNTINFO_MAX);

	if (!cgroup || !mounts || io_read_text("/proc/self/cgroup", cgroup, TEXT_MAX) < 0 ||
	    io_read_text("/proc/self/mountinfo", mounts, MOUNTINFO_MAX) < 0)
		return -ENOENT;
	return cgroup_find(cgroup, mounts, ret_folder);
}

/* Opens FOLDER/NAME and reads it into text. */
static ssize_t folder_text(const struct cgroup_folder *folder, const char *name, char *text,
			   size_t cap)
{
	char path[CGROUP_PATH_MAX + 64];

	(void)snprintf(path, sizeof(path), "%s/%s", folder->path, name);
	return io_read_text(path, text, cap);
}

static int folder_number(const struct cgroup_folder *folder, const char *name, uint64_t *ret_value)
{
	char text[64];

	if (folder_text(folder, name, text, sizeof(text)) < 0)
		return -ENOENT;
	return cgroup_parse_number(text, ret_value);
}

/* Page cache that the cgroup would give back. */
static uint64_t folder_page_cache(const struct cgroup_folder *folder)
{
	CLEANUP_FREE char *text = malloc(TEXT_MAX);
	uint64_t active = 0, inactive = 0;

	if (!text || folder_text(folder, "memory.stat", text, TEXT_MAX) < 0)
		return 0;
	(void)cgroup_parse_field(text, folder->v1 ? "total_active_file" : "active_file", &active);
	(void)cgroup_parse_field(text, folder->v1 ? "total_inactive_file" : "inactive_file",
				 &inactive);
	return active + inactive;
}

/* What one cgroup leaves; UINT64_MAX where it sets no limit. */
static uint64_t folder_room(const struct cgroup_folder *folder, uint64_t *ret_limit)
{
	uint64_t usage;

	*ret_limit = UINT64_MAX;
	if (folder_number(folder, folder->v1 ? "memory.limit_in_bytes" : "memory.max", ret_limit) <
		    0 ||
	    *ret_limit == UINT64_MAX)
		return UINT64_MAX;
	if (folder_number(folder, folder->v1 ? "memory.usage_in_bytes" : "memory.current", &usage) <
	    0)
		return *ret_limit;
	return cgroup_room(*ret_limit, usage, folder_page_cache(folder));
}

int host_memory_available(uint64_t *ret_free, uint64_t *ret_total, struct wload_error *err)
{
	struct cgroup_folder folder;
	uint64_t available, total;
	char text[8192];

	if (io_read_text("/proc/meminfo", text, sizeof(text)) < 0 ||
	    cgroup_parse_field(text, "MemAvailable", &available) < 0 ||
	    cgroup_parse_field(text, "MemTotal", &total) < 0)
		return wload_fail(err, EIO,
				  "'/proc/meminfo' does not say how much memory there is");
	if (own_cgroup(&folder) == 0) {
		do {
			uint64_t limit, room = folder_room(&folder, &limit);

			available = room < available ? room : available;
			total = limit < total ? limit : total;
		} while (cgroup_up(&folder));
	}
	*ret_free = available;
	*ret_total = total;
	return 0;
}

uint64_t host_memory_cgroup_peak(void)
{
	struct cgroup_folder folder;
	uint64_t peak;

	/* version 2 keeps none for its root */
	if (own_cgroup(&folder) < 0 || (folder.v1 && folder.root) ||
	    folder_number(&folder, folder.v1 ? "memory.max_usage_in_bytes" : "memory.peak", &peak) <
		    0)
		return 0;
	return peak == UINT64_MAX ? 0 : peak;
}

uint64_t host_memory_resident(int pid)
{
	char path[64], text[256];
	uint64_t pages;

	if (pid == 0)
		(void)snprintf(path, sizeof(path), "/proc/self/statm");
	else
		(void)snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	if (io_read_text(path, text, sizeof(text)) < 0 || cgroup_parse_statm(text, &pages) < 0)
		return 0;
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
