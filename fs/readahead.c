/* SPDX-License-Identifier: Apache-2.0 */
/* Writes /sys/class/bdi/MAJOR:MINOR/read_ahead_kb (readahead.h). The device's number is in the
 * kernel's list of mounts; stat() of the mountpoint would wait for ourselves. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/readahead.h"
#include "loader/base/cleanup.h"
#include "loader/mount/mountinfo.h"
#include "wloadfs/mount.h"

/* The device number of what is mounted last at a place. Returns 0 or -errno. */
static int device_at(const char *mountpoint, unsigned int *ret_major, unsigned int *ret_minor)
{
	FILE *f CLEANUP_FCLOSE = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	struct mountinfo_entry entry;
	size_t cap = 0;
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &cap, f) > 0) {
		char *text = line;

		if (mountinfo_next(&text, &entry) && strcmp(entry.mount_point, mountpoint) == 0 &&
		    strcmp(entry.type, WLOAD_FS_TYPE) == 0) {
			*ret_major = entry.major;
			*ret_minor = entry.minor;
			r = 0;
		}
	}
	return r;
}

static int widen(const char *mountpoint, uint64_t bytes)
{
	CLEANUP_FD int fd = -1;
	unsigned int major = 0, minor = 0;
	char path[64], value[32];
	int r = device_at(mountpoint, &major, &minor), len;

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	len = snprintf(value, sizeof(value), "%" PRIu64, bytes >> 10);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, (size_t)len) != len)
		return -errno;
	return 0;
}

void readahead_widen(struct wloadfs *fs, uint64_t bytes)
{
	int r;

	if (!feature_on(&fs->features, FEATURE_READ_AHEAD) ||
	    atomic_exchange(&fs->readahead_widened, true))
		return;
	r = widen(fs->mountpoint, bytes);
	if (r < 0)
		feature_off(&fs->features, FEATURE_READ_AHEAD, -r);
}
