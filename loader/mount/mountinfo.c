/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a wloadfs mount from everything else by reading the kernel's list of mounts.
 *
 * This decides whether anything may be consumed, so it asks the kernel and never goes by what files
 * a folder holds. Pure: text in, answer out; mount.c reads the file. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "wloadfs/mount.h"
#include "loader/base/octal.h"
#include "loader/mount/mountinfo.h"
#include "loader/mount/ranks.h"

static char *next_field(char **line)
{
	char *field;

	do
		field = strsep(line, " ");
	while (field && !*field);
	return field;
}

static bool parse_device(const char *field, struct mountinfo_entry *ret)
{
	unsigned long major, minor;
	char *end;

	if (!field || *field < '0' || *field > '9')
		return false;
	major = strtoul(field, &end, 10);
	if (*end != ':' || end[1] < '0' || end[1] > '9')
		return false;
	minor = strtoul(end + 1, &end, 10);
	if (*end || major > 0xffffffff || minor > 0xffffffff)
		return false;
	ret->major = (unsigned int)major;
	ret->minor = (unsigned int)minor;
	return true;
}

static bool parse_line(char *line, struct mountinfo_entry *ret)
{
	char *root, *mount_point, *field, *type;

	/* mount id, parent's id */
	if (!next_field(&line) || !next_field(&line) || !parse_device(next_field(&line), ret))
		return false;
	root = next_field(&line);
	mount_point = next_field(&line);
	/* options, then any number of optional fields up to a lone "-" */
	do
		field = next_field(&line);
	while (field && strcmp(field, "-") != 0);
	type = next_field(&line);
	if (!field || !type)
		return false;
	octal_decode(root);
	octal_decode(mount_point);
	octal_decode(type);
	ret->root = root;
	ret->mount_point = mount_point;
	ret->type = type;
	return true;
}

int mountinfo_next(char **text, struct mountinfo_entry *ret_entry)
{
	char *line;

	while (*text && **text) {
		struct mountinfo_entry entry;

		line = strsep(text, "\n");
		if (!parse_line(line, &entry))
			continue;
		*ret_entry = entry;
		return 1;
	}
	return 0;
}

/* Whether path is at or below mount_point. */
static bool covers(const char *mount_point, const char *path)
{
	size_t len = strlen(mount_point);

	if (len == 1) /* "/" */
		return true;
	return strncmp(mount_point, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What of path, which it covers, is behind mount_point: "" or "/…". */
static const char *below(const char *mount_point, const char *path)
{
	size_t len = strlen(mount_point);

	return len == 1 ? path : path + len;
}

enum mountinfo_place mountinfo_place(char *text, unsigned int major, unsigned int minor,
				     const char *path, const char **ret_mount_point,
				     uint32_t *ret_rank)
{
	enum mountinfo_place place = MOUNTINFO_ELSEWHERE;
	struct mountinfo_entry entry;
	const char *root = NULL;

	while (mountinfo_next(&text, &entry)) {
		if (entry.major != major || entry.minor != minor ||
		    strcmp(entry.type, WLOAD_FS_TYPE) != 0)
			continue;
		if (strcmp(entry.root, "/") == 0 && strcmp(entry.mount_point, path) == 0)
			return MOUNTINFO_ROOT;
		if (!root && strcmp(entry.root, "/") == 0)
			root = entry.mount_point;
		if (place == MOUNTINFO_RANK)
			continue;
		place = covers(entry.mount_point, path) &&
					ranks_path(entry.root, below(entry.mount_point, path),
						   ret_rank)
				? MOUNTINFO_RANK
				: MOUNTINFO_INSIDE;
	}
	if (place != MOUNTINFO_ELSEWHERE)
		*ret_mount_point = root ? root : path;
	return place;
}

const char *mountinfo_covering(char *text, const char *path)
{
	struct mountinfo_entry entry, best = {.type = ""};
	size_t best_len = 0;

	while (mountinfo_next(&text, &entry)) {
		size_t len = strlen(entry.mount_point);

		/* >= : of two mounts at one place the later lies on top */
		if (len >= best_len && covers(entry.mount_point, path)) {
			best = entry;
			best_len = len;
		}
	}
	return strcmp(best.type, WLOAD_FS_TYPE) == 0 ? best.mount_point : NULL;
}
