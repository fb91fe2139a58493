/* SPDX-License-Identifier: Apache-2.0 */
/* loader/device/cgroup.c: what /proc and cgroups say. */

#include <errno.h>
#include <string.h>

#include "loader/device/cgroup.h"
#include "tap.h"

#define V1_CGROUP "9:name=systemd:/\n4:cpu,memory:/box/a\n0::/other\n"
#define V1_MOUNTS                                                                         \
	"30 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"        \
	"31 25 0:27 / /sys/fs/cgroup/memory rw,nosuid shared:9 master:1 - cgroup cgroup " \
	"rw,memory\n"
#define V2_CGROUP "0::/user.slice/run-1.scope\n"
#define V2_MOUNTS                               \
	"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n" \
	"30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static const struct folder_row {
	const char *name, *cgroup, *mounts;
	int want;
	const char *path;
	bool v1, root;
} folder_rows[] = {
	{"version 2", V2_CGROUP, V2_MOUNTS, 0, "/sys/fs/cgroup/user.slice/run-1.scope", false,
	 false},
	{"version 1, among other controllers", V1_CGROUP, V1_MOUNTS, 0,
	 "/sys/fs/cgroup/memory/box/a", true, false},
	{"both mounted: version 1 has the controller", V1_CGROUP, V2_MOUNTS V1_MOUNTS, 0,
	 "/sys/fs/cgroup/memory/box/a", true, false},
	{"the root cgroup", "0::/\n", V2_MOUNTS, 0, "/sys/fs/cgroup", false, true},
	{"version 1's root", "4:memory:/\n", V1_MOUNTS, 0, "/sys/fs/cgroup/memory", true, true},
	{"a container's own part is no root", "4:memory:/docker/abc\n",
	 "31 25 0:27 /docker/abc /cg rw - cgroup cgroup rw,memory\n", 0, "/cg", true, false},
	{"blanks in the mount point", "0::/x y/z\n",
	 "30 24 0:26 /x\\040y /my\\040cg\\134 rw - cgroup2 none rw\n", 0, "/my cg\\/z", false,
	 false},
	{"a container sees its own part", "0::/docker/abc/x\n",
	 "30 24 0:26 /docker/abc /cg rw - cgroup2 none rw\n", 0, "/cg/x", false, false},
	{"a part whose name only begins alike", "0::/docker/abcd\n",
	 "30 24 0:26 /docker/abc /cg rw - cgroup2 none rw\n", 0, "/cg", false, false},
	{"a path outside of what is mounted", "0::/../../x\n",
	 "30 24 0:26 /docker/abc /cg rw - cgroup2 none rw\n", 0, "/cg", false, false},
	{"nothing mounted", V2_CGROUP, "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", -ENOENT, "", false,
	 false},
	{"empty texts", "", "", -ENOENT, "", false, false},
	{"lines cut short", "4:memory\n0:\n", "30 24 0:26 /\n31\n", -ENOENT, "", false, false},
};

static const struct number_row {
	const char *text;
	int want;
	uint64_t value;
} number_rows[] = {
	{"123\n", 0, 123},
	{"max\n", 0, UINT64_MAX},
	{"9223372036854771712\n", 0, UINT64_MAX}, /* version 1 without a limit */
	{"", -EINVAL, 0},
	{"-1\n", -EINVAL, 0},
	{"12x\n", -EINVAL, 0},
	{"99999999999999999999\n", -EINVAL, 0},
};

static const struct field_row {
	const char *name, *text, *key;
	int want;
	uint64_t value;
} field_rows[] = {
	{"meminfo is in kB", "MemTotal:  100 kB\nMemAvailable:     24 kB\n", "MemAvailable", 0,
	 24576},
	{"memory.stat is in bytes", "anon 5\nactive_file 77\n", "active_file", 0, 77},
	{"only whole keys", "inactive_file 5\nactive_file_x 6\n", "active_file", -ENOENT, 0},
	{"a key at the end", "active_file", "active_file", -ENOENT, 0},
	{"no text", "", "MemTotal", -ENOENT, 0},
};

static const struct room_row {
	const char *name;
	uint64_t limit, usage, cache, want;
} room_rows[] = {
	{"no limit", UINT64_MAX, 500, 0, UINT64_MAX},
	{"what the limit leaves", 1000, 600, 0, 400},
	{"page cache can be had", 1000, 600, 500, 900},
	{"more cache than usage", 1000, 100, 500, 1000},
	{"over the limit", 1000, 1500, 100, 0},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void check_numbers(struct tap *tap)
{
	for (size_t i = 0; i < COUNT(number_rows); i++) {
		const struct number_row *row = &number_rows[i];
		uint64_t value = 0;
		int r = cgroup_parse_number(row->text, &value);

		ok(tap, r == row->want && value == row->value, "number: row %zu", i);
	}
	for (size_t i = 0; i < COUNT(field_rows); i++) {
		const struct field_row *row = &field_rows[i];
		uint64_t value = 0;
		int r = cgroup_parse_field(row->text, row->key, &value);

		ok(tap, r == row->want && value == row->value, "field: %s", row->name);
	}
}

int main(void)
{
	static struct cgroup_folder folder;
	struct tap tap = {0};
	uint64_t pages = 0;

	for (size_t i = 0; i < COUNT(folder_rows); i++) {
		const struct folder_row *row = &folder_rows[i];
		int r;

		memset(&folder, 0, sizeof(folder));
		r = cgroup_find(row->cgroup, row->mounts, &folder);
		ok(&tap,
		   r == row->want && (r < 0 || (strcmp(folder.path, row->path) == 0 &&
						folder.v1 == row->v1 && folder.root == row->root)),
		   "folder: %s ('%s')", row->name, folder.path);
	}
	(void)cgroup_find(V2_CGROUP, V2_MOUNTS, &folder);
	ok(&tap, cgroup_up(&folder) && strcmp(folder.path, "/sys/fs/cgroup/user.slice") == 0,
	   "folder: the parent");
	ok(&tap, cgroup_up(&folder) && !cgroup_up(&folder), "folder: ends at the mount");
	check_numbers(&tap);
	for (size_t i = 0; i < COUNT(room_rows); i++)
		ok(&tap,
		   cgroup_room(room_rows[i].limit, room_rows[i].usage, room_rows[i].cache) ==
			   room_rows[i].want,
		   "room: %s", room_rows[i].name);
	ok(&tap, cgroup_parse_statm("1000 200 30 1 0 5 0\n", &pages) == 0 && pages == 200,
	   "statm: the second number");
	ok(&tap, cgroup_parse_statm("1000", &pages) == -EINVAL, "statm: cut short");
	return tap_done(&tap);
}
