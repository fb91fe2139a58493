/* SPDX-License-Identifier: Apache-2.0 */
/* loader/mount/mountinfo: what is a mount of ours, its root, inside of it, or none. */

#include <string.h>

#include "loader/mount/mountinfo.h"
#include "tap.h"

#define EXT4  "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
#define OURS  "40 24 0:51 / /mnt/weights rw,nosuid - fuse.wloadfs wloadfs rw,user_id=0\n"
#define OTHER "41 24 0:52 / /mnt/other rw master:3 propagate_from:2 - fuse.sshfs h:/ rw\n"
#define BIND  "42 24 0:51 /tensors /srv/tensors rw shared:9 - fuse.wloadfs wloadfs rw\n"
#define RANK  "46 24 0:51 /ranks/3 /srv/rank rw - fuse.wloadfs wloadfs rw\n"
#define AGAIN "43 24 0:51 / /srv/again rw shared:9 - fuse.wloadfs wloadfs rw\n"
#define SPACE "44 24 0:53 / /mnt/my\\040model\\134\\011x rw - fuse.wloadfs a\\040b rw\n"
#define ATOP  "45 40 0:54 / /mnt/weights rw - tmpfs tmpfs rw\n"

static const struct {
	const char *name, *text;
	unsigned int major, minor;
	const char *path;
	enum mountinfo_place want;
	const char *want_root;
	uint32_t want_rank;
} places[] = {
	{"empty file", "", 0, 51, "/mnt/weights", MOUNTINFO_ELSEWHERE, NULL, 0},
	{"plain folder", EXT4 OURS, 8, 1, "/home", MOUNTINFO_ELSEWHERE, NULL, 0},
	{"root", EXT4 OURS, 0, 51, "/mnt/weights", MOUNTINFO_ROOT, NULL, 0},
	{"no newline at the end", "40 24 0:51 / /m rw - fuse.wloadfs w rw", 0, 51, "/m",
	 MOUNTINFO_ROOT, NULL, 0},
	{"inside", EXT4 OURS, 0, 51, "/mnt/weights/tensors", MOUNTINFO_INSIDE, "/mnt/weights", 0},
	{"a FUSE mount of another type", EXT4 OTHER, 0, 52, "/mnt/other", MOUNTINFO_ELSEWHERE, NULL,
	 0},
	{"same minor, other major", EXT4 OURS, 1, 51, "/mnt/weights", MOUNTINFO_ELSEWHERE, NULL, 0},
	{"a bind mount of a subfolder is inside", EXT4 BIND OURS, 0, 51, "/srv/tensors",
	 MOUNTINFO_INSIDE, "/mnt/weights", 0},
	{"a bind mount whose root is out of sight", EXT4 BIND, 0, 51, "/srv/tensors",
	 MOUNTINFO_INSIDE, "/srv/tensors", 0},
	{"a bind mount of the root is a root", EXT4 OURS BIND AGAIN, 0, 51, "/srv/again",
	 MOUNTINFO_ROOT, NULL, 0},
	{"and the first still is", EXT4 OURS BIND AGAIN, 0, 51, "/mnt/weights", MOUNTINFO_ROOT,
	 NULL, 0},
	{"a rank's folder", EXT4 OURS, 0, 51, "/mnt/weights/ranks/12", MOUNTINFO_RANK,
	 "/mnt/weights", 12},
	{"a folder in it", EXT4 OURS, 0, 51, "/mnt/weights/ranks/12/tensors", MOUNTINFO_INSIDE,
	 "/mnt/weights", 0},
	{"what only is named like one", EXT4 OURS, 0, 51, "/mnt/weights/old/ranks/1",
	 MOUNTINFO_INSIDE, "/mnt/weights", 0},
	{"a bind mount of a rank's folder", EXT4 RANK OURS, 0, 51, "/srv/rank", MOUNTINFO_RANK,
	 "/mnt/weights", 3},
	{"the same where the root is out of sight", RANK, 0, 51, "/srv/rank", MOUNTINFO_RANK,
	 "/srv/rank", 3},
	{"a folder in a bind mount of a rank's", RANK, 0, 51, "/srv/rank/npy", MOUNTINFO_INSIDE,
	 "/srv/rank/npy", 0},
	{"a rank's folder by way of a bind mount of the root", OURS AGAIN, 0, 51,
	 "/srv/again/ranks/0", MOUNTINFO_RANK, "/mnt/weights", 0},
	{"octal escapes", SPACE, 0, 53, "/mnt/my model\\\tx", MOUNTINFO_ROOT, NULL, 0},
	{"optional fields are passed over", OTHER OURS, 0, 51, "/mnt/weights", MOUNTINFO_ROOT, NULL,
	 0},
	{"a line without the dash", "40 24 0:51 / /m rw fuse.wloadfs w rw\n", 0, 51, "/m",
	 MOUNTINFO_ELSEWHERE, NULL, 0},
	{"a line cut short", "40 24 0:51\n" OURS, 0, 51, "/mnt/weights", MOUNTINFO_ROOT, NULL, 0},
	{"a device that is no number", "40 24 x:51 / /m rw - fuse.wloadfs w rw\n", 0, 51, "/m",
	 MOUNTINFO_ELSEWHERE, NULL, 0},
	{"empty lines", "\n\n" OURS "\n", 0, 51, "/mnt/weights", MOUNTINFO_ROOT, NULL, 0},
};

static const struct {
	const char *name, *text, *path, *want;
} coverings[] = {
	{"the root itself", EXT4 OURS, "/mnt/weights", "/mnt/weights"},
	{"below it", EXT4 OURS, "/mnt/weights/tensors/a", "/mnt/weights"},
	{"a name that only begins alike", EXT4 OURS, "/mnt/weights2", NULL},
	{"elsewhere", EXT4 OURS, "/home", NULL},
	{"another filesystem on top", EXT4 OURS ATOP, "/mnt/weights", NULL},
	{"no mounts", "", "/x", NULL},
};

int main(void)
{
	struct tap tap = {0};
	char text[2048];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const char *root = NULL;
		enum mountinfo_place got;
		uint32_t rank = 0;

		(void)snprintf(text, sizeof(text), "%s", places[i].text);
		got = mountinfo_place(text, places[i].major, places[i].minor, places[i].path, &root,
				      &rank);
		ok(&tap,
		   got == places[i].want &&
			   (got != MOUNTINFO_RANK || rank == places[i].want_rank) &&
			   (!places[i].want_root ? !root
						 : root && !strcmp(root, places[i].want_root)),
		   "place: %s", places[i].name);
	}
	for (size_t i = 0; i < sizeof(coverings) / sizeof(coverings[0]); i++) {
		const char *got;

		(void)snprintf(text, sizeof(text), "%s", coverings[i].text);
		got = mountinfo_covering(text, coverings[i].path);
		ok(&tap, coverings[i].want ? got && !strcmp(got, coverings[i].want) : !got,
		   "covering: %s", coverings[i].name);
	}
	return tap_done(&tap);
}
