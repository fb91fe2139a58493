/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: texts of /proc and of the cgroup filesystem in, numbers and one path out. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/octal.h"
#include "loader/device/cgroup.h"

/* A piece of a text that is not NUL-terminated. */
struct span {
	const char *at;
	size_t len;
};

static struct span until(const char *at, const char *stops)
{
	return (struct span){at, strcspn(at, stops)};
}

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

/* Is word one of a comma-separated list? */
static bool list_has(struct span list, const char *word)
{
	for (size_t at = 0; at <= list.len;) {
		const char *comma = memchr(list.at + at, ',', list.len - at);
		size_t end = comma ? (size_t)(comma - list.at) : list.len;

		if (span_is((struct span){list.at + at, end - at}, word))
			return true;
		at = end + 1;
	}
	return false;
}

static const char *next_line(const char *line)
{
	line += strcspn(line, "\n");
	return *line ? line + 1 : line;
}

/* A line of /proc/self/cgroup is ID:CONTROLLERS:PATH; version 2 is "0::PATH". */
static bool process_path(const char *self_cgroup, bool v1, struct span *ret_path)
{
	for (const char *line = self_cgroup; *line; line = next_line(line)) {
		struct span id = until(line, ":\n"), list, path;

		if (line[id.len] != ':')
			continue;
		list = until(line + id.len + 1, ":\n");
		if (list.at[list.len] != ':')
			continue;
		path = until(list.at + list.len + 1, "\n");
		if (v1 ? list_has(list, "memory") : (span_is(id, "0") && list.len == 0)) {
			*ret_path = path;
			return true;
		}
	}
	return false;
}

/* One line of mountinfo: ID PARENT DEV ROOT POINT OPTIONS [TAG …] - TYPE SOURCE SUPER. */
struct mount_line {
	struct span root, point, type, super;
};

static bool split_mount(const char *line, struct mount_line *ret_mount)
{
	struct span field[5];
	const char *at = line;

	for (int i = 0; i < 5; i++) {
		field[i] = until(at, " \n");
		at += field[i].len;
		if (*at++ != ' ')
			return false;
	}
	do {
		struct span s = until(at, " \n");

		at += s.len;
		if (*at++ != ' ')
			return false;
		if (span_is(s, "-"))
			break;
	} while (true);
	ret_mount->root = field[3];
	ret_mount->point = field[4];
	ret_mount->type = until(at, " \n");
	at += ret_mount->type.len;
	at += *at == ' ';
	at += until(at, " \n").len;
	at += *at == ' ';
	ret_mount->super = until(at, " \n");
	return true;
}

/* A field of mountinfo as a path. Returns 0, or -ENOENT when it is longer than any. */
static int decode(struct span field, char ret_path[CGROUP_PATH_MAX])
{
	if (field.len >= CGROUP_PATH_MAX)
		return -ENOENT;
	memcpy(ret_path, field.at, field.len);
	ret_path[field.len] = '\0';
	octal_decode(ret_path);
	return 0;
}

static int compose(struct mount_line mount, struct span path, bool v1,
		   struct cgroup_folder *ret_folder)
{
	char root[CGROUP_PATH_MAX], point[CGROUP_PATH_MAX];
	size_t root_len;
	int n;

	if (decode(mount.root, root) < 0 || decode(mount.point, point) < 0)
		return -ENOENT;
	ret_folder->root = strcmp(root, "/") == 0 && span_is(path, "/");
	root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (path.len >= root_len && memcmp(path.at, root, root_len) == 0 &&
	    (path.len == root_len || path.at[root_len] == '/')) {
		path.at += root_len;
		path.len -= root_len;
	} else {
		path.len = 0;
	}
	if (path.len == 1) /* "/" */
		path.len = 0;
	n = snprintf(ret_folder->path, sizeof(ret_folder->path), "%s%.*s", point, (int)path.len,
		     path.at);
	if (n < 0 || (size_t)n >= sizeof(ret_folder->path))
		return -ENOENT;
	ret_folder->top_len = strlen(point);
	ret_folder->v1 = v1;
	return 0;
}

static int find_version(const char *self_cgroup, const char *mountinfo, bool v1,
			struct cgroup_folder *ret_folder)
{
	struct span path;

	if (!process_path(self_cgroup, v1, &path))
		return -ENOENT;
	for (const char *line = mountinfo; *line; line = next_line(line)) {
		struct mount_line mount;

		if (!split_mount(line, &mount))
			continue;
		if (v1 ? (span_is(mount.type, "cgroup") && list_has(mount.super, "memory"))
		       : span_is(mount.type, "cgroup2"))
			return compose(mount, path, v1, ret_folder);
	}
	return -ENOENT;
}

int cgroup_find(const char *self_cgroup, const char *mountinfo, struct cgroup_folder *ret_folder)
{
	/* Where both are mounted, a controller belongs to one of them: version 1 lists it. */
	int r = find_version(self_cgroup, mountinfo, true, ret_folder);

	return r < 0 ? find_version(self_cgroup, mountinfo, false, ret_folder) : r;
}

bool cgroup_up(struct cgroup_folder *folder)
{
	char *slash = strrchr(folder->path, '/');

	if (!slash || strlen(folder->path) <= folder->top_len)
		return false;
	*slash = '\0';
	return true;
}

int cgroup_parse_number(const char *text, uint64_t *ret_value)
{
	unsigned long long value;
	char *end;

	if (strncmp(text, "max", 3) == 0 && (text[3] == '\n' || !text[3])) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || (*end && *end != '\n' && *end != ' '))
		return -EINVAL;
	*ret_value = value > (UINT64_C(1) << 62) ? UINT64_MAX : value;
	return 0;
}

int cgroup_parse_field(const char *text, const char *key, uint64_t *ret_value)
{
	size_t key_len = strlen(key);

	for (const char *line = text; *line; line = next_line(line)) {
		const char *at = line + key_len;
		uint64_t value;

		if (strncmp(line, key, key_len) != 0 || (*at != ' ' && *at != ':'))
			continue;
		at += *at == ':';
		at += strspn(at, " ");
		if (cgroup_parse_number(at, &value) < 0)
			return -ENOENT;
		at += strspn(at, "0123456789");
		*ret_value = strncmp(at, " kB", 3) == 0 ? value * 1024 : value;
		return 0;
	}
	return -ENOENT;
}

int cgroup_parse_statm(const char *text, uint64_t *ret_resident_pages)
{
	const char *second = strchr(text, ' ');

	return second ? cgroup_parse_number(second + 1, ret_resident_pages) : -EINVAL;
}

uint64_t cgroup_room(uint64_t limit, uint64_t usage, uint64_t page_cache)
{
	uint64_t held = usage > page_cache ? usage - page_cache : 0;

	if (limit == UINT64_MAX)
		return UINT64_MAX;
	return limit > held ? limit - held : 0;
}
