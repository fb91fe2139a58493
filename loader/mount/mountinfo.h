/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MOUNTINFO_H
#define WLOAD_MOUNTINFO_H

/* The lines of /proc/self/mountinfo (proc(5)), of which we need four fields:
 *
 *   36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *         ^dev ^root ^mount point     optional… ^ ^type
 *
 * Blanks, newlines and backslashes inside a field are written as three octal digits (\040). */

#include <stdint.h>

struct mountinfo_entry {
	unsigned int major, minor;
	const char *root;	 /* what of the filesystem is mounted: "/" unless a bind mount */
	const char *mount_point; /* as seen from the process's root */
	const char *type;	 /* "fuse.wloadfs" */
};

/* Takes the next line that has all the fields off *text, which it decodes in place; the entry
 * points into it.
 *
 * Returns 1, or 0 at the end. Lines that are not of that form are passed over. */
int mountinfo_next(char **text, struct mountinfo_entry *ret_entry);

enum mountinfo_place {
	MOUNTINFO_ELSEWHERE, /* no mount of ours has that device number */
	MOUNTINFO_ROOT,	     /* path is where one is mounted */
	MOUNTINFO_RANK,	     /* path is, or is a bind mount of, what lies at /ranks/R in one */
	MOUNTINFO_INSIDE,    /* path lies below its root, or is a bind mount of something inside */
};

/* Decides what path is, from the device number of what it names. There may be several entries for
 * one device (bind mounts); any will do.
 *
 * text            the whole file; decoded in place
 * path            absolute, without symbolic links
 * ret_mount_point for MOUNTINFO_RANK and MOUNTINFO_INSIDE, where the root is mounted (points into
 *                 text, or is path when it is mounted nowhere that this process can see)
 * ret_rank        for MOUNTINFO_RANK: R */
enum mountinfo_place mountinfo_place(char *text, unsigned int major, unsigned int minor,
				     const char *path, const char **ret_mount_point,
				     uint32_t *ret_rank);

/* Finds the mount that path is on when it can not be asked for its device number any more.
 *
 * Returns the mount point of ours that is path or the closest above it (points into text), NULL
 * when what is mounted there is not ours. */
const char *mountinfo_covering(char *text, const char *path);

#endif
