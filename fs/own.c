/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the checkpoint's own folders breadth first: the entries of one folder are appended
 * together, sorted, so that a folder is a range of the table and a name is found by bisection. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/own.h"
#include "loader/base/checked.h"
#include "loader/base/cleanup.h"

struct scan {
	const struct wload_checkpoint *ckpt;
	int folder_fd;
	uint64_t skip_dev, skip_ino;
	const char *const *reserved;
	own_warn warn;
	void *warn_ctx;
	struct own own;
	size_t cap;
};

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void warn_entry(struct scan *scan, uint32_t folder, const char *name, const char *why)
{
	CLEANUP_FREE char *path = own_path(&scan->own, folder);
	char text[WLOAD_ERROR_TEXT];

	(void)snprintf(text, sizeof(text), "'%s/%s' of the checkpoint is left out: %s",
		       path ? path : "?", name, why);
	scan->warn(scan->warn_ctx, text);
}

static uint32_t shard_of(const struct wload_checkpoint *ckpt, const struct stat *st)
{
	for (uint32_t i = 0; i < wload_checkpoint_shard_count(ckpt); i++) {
		const struct wload_shard *shard = wload_checkpoint_shard(ckpt, i);

		if (shard->ino == st->st_ino && shard->dev == st->st_dev)
			return i;
	}
	return OWN_NO_SHARD;
}

static int add_entry(struct scan *scan, uint32_t parent, const char *name, const struct stat *st,
		     struct wload_error *err)
{
	struct own *own = &scan->own;
	bool folder = S_ISDIR(st->st_mode);
	struct own_entry *entry;

	if (own->count >= OWN_ENTRIES_MAX)
		return wload_fail(err, E2BIG, "'%s' holds over %u files, no checkpoint does",
				  wload_checkpoint_folder(scan->ckpt), OWN_ENTRIES_MAX);
	if (!grow_array(&own->entry, &scan->cap, own->count + 1, sizeof(*own->entry)))
		return wload_fail(err, ENOMEM, "out of memory for the checkpoint's files");
	entry = &own->entry[own->count];
	*entry = (struct own_entry){
		.name = strdup(name),
		.parent = parent,
		.shard = folder ? OWN_NO_SHARD : shard_of(scan->ckpt, st),
		.depth = own->count ? own->entry[parent].depth + 1 : 0,
		.folder = folder,
		.mode = st->st_mode & 0777,
		.gid = st->st_gid,
		.link_fd = -1,
		.bytes = folder ? 0 : (uint64_t)st->st_size,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.mtime = st->st_mtim,
	};
	if (!entry->name)
		return wload_fail(err, ENOMEM, "out of memory for the checkpoint's files");
	own->count++;
	return 0;
}

/* Keeps what a symbolic link leads to. Shards are open anyway. */
static int keep_link(struct scan *scan, int folder_fd, const char *name, struct wload_error *err)
{
	struct own_entry *entry = &scan->own.entry[scan->own.count - 1];
	struct stat st;

	if (entry->shard != OWN_NO_SHARD ||
	    fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
		return 0;
	entry->link_fd = openat(folder_fd, name, O_PATH | O_CLOEXEC);
	if (entry->link_fd < 0)
		return wload_fail(err, errno, "cannot follow the link '%s' of the checkpoint: %s",
				  name, strerror(errno));
	return 0;
}

/* Whether a folder is one of its own ancestors: a symbolic link that leads upwards. */
static bool loops(const struct own *own, uint32_t parent, const struct stat *st)
{
	for (uint32_t at = parent;; at = own->entry[at].parent) {
		if (own->entry[at].ino == st->st_ino && own->entry[at].dev == st->st_dev)
			return true;
		if (at == 0)
			return false;
	}
}

static bool is_reserved(const struct scan *scan, const char *name)
{
	for (const char *const *r = scan->reserved; *r; r++)
		if (strcmp(*r, name) == 0)
			return true;
	return false;
}

/* Why an entry does not appear; NULL when it does. */
static const char *why_left_out(const struct scan *scan, uint32_t folder, const char *name,
				const struct stat *st)
{
	if (folder == 0 && is_reserved(scan, name))
		return "the mount has a folder of that name";
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return "it is neither a file nor a folder";
	if (S_ISDIR(st->st_mode) && loops(&scan->own, folder, st))
		return "it is a symbolic link to a folder above it";
	if (S_ISDIR(st->st_mode) && scan->own.entry[folder].depth + 1 > OWN_DEPTH_MAX)
		return "it lies too deep";
	return NULL;
}

static int scan_one(struct scan *scan, uint32_t folder, int fd, const char *name,
		    struct wload_error *err)
{
	const char *why;
	struct stat st;
	int r;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(fd, name, &st, 0) < 0) {
		warn_entry(scan, folder, name, strerror(errno));
		return 0;
	}
	if (S_ISDIR(st.st_mode) && st.st_dev == scan->skip_dev && st.st_ino == scan->skip_ino)
		return 0;
	why = why_left_out(scan, folder, name, &st);
	if (why) {
		warn_entry(scan, folder, name, why);
		return 0;
	}
	r = add_entry(scan, folder, name, &st, err);
	return r < 0 ? r : keep_link(scan, fd, name, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct own_entry *)a)->name, ((const struct own_entry *)b)->name);
}

static int scan_folder(struct scan *scan, uint32_t folder, struct wload_error *err)
{
	CLEANUP_FREE char *path = own_path(&scan->own, folder);
	CLEANUP_FD int fd = -1;
	DIR *dir CLEANUP(cleanup_closedir) = NULL;
	struct own_entry *entry;
	struct dirent *d;
	int r;

	if (!path)
		return wload_fail(err, ENOMEM, "out of memory for the checkpoint's files");
	fd = openat(scan->folder_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (folder == 0)
			return wload_fail(err, errno, "cannot list '%s': %s",
					  wload_checkpoint_folder(scan->ckpt), strerror(errno));
		warn_entry(scan, scan->own.entry[folder].parent, scan->own.entry[folder].name,
			   strerror(errno));
		return 0;
	}
	(void)TAKE_FD(fd); /* closedir() closes it */
	scan->own.entry[folder].first_child = scan->own.count;
	while ((d = readdir(dir))) {
		r = scan_one(scan, folder, dirfd(dir), d->d_name, err);
		if (r < 0)
			return r;
	}
	entry = &scan->own.entry[folder];
	entry->child_count = scan->own.count - entry->first_child;
	if (entry->child_count)
		qsort(&scan->own.entry[entry->first_child], entry->child_count, sizeof(*entry),
		      by_name);
	return 0;
}

/* The root, when one file was opened: just that file, and what tells of which model it is, without
 * which no parameter could be made of it. */
static int scan_file(struct scan *scan, const char *name, struct wload_error *err)
{
	const char *const names[] = {name, WLOAD_CONFIG_FILE};
	bool config = wload_checkpoint_config(scan->ckpt) && strcmp(name, WLOAD_CONFIG_FILE) != 0;
	struct own_entry *root;
	struct stat st;
	int r = 0;

	for (size_t i = 0; r == 0 && i < 1 + (size_t)config; i++) {
		if (fstatat(scan->folder_fd, names[i], &st, 0) < 0)
			return wload_fail(err, errno, "cannot stat '%s': %s", names[i],
					  strerror(errno));
		r = add_entry(scan, 0, names[i], &st, err);
		if (r == 0 && i > 0)
			r = keep_link(scan, scan->folder_fd, names[i], err);
	}
	root = &scan->own.entry[0];
	root->first_child = 1;
	root->child_count = scan->own.count - 1;
	qsort(&scan->own.entry[1], root->child_count, sizeof(*root), by_name);
	return r;
}

int own_read(const struct wload_checkpoint *ckpt, uint64_t skip_dev, uint64_t skip_ino,
	     const char *const *reserved, own_warn warn, void *warn_ctx, struct own *ret,
	     struct wload_error *err)
{
	struct scan scan = {
		.ckpt = ckpt,
		.folder_fd = wload_checkpoint_folder_fd(ckpt),
		.skip_dev = skip_dev,
		.skip_ino = skip_ino,
		.reserved = reserved,
		.warn = warn,
		.warn_ctx = warn_ctx,
	};
	struct stat st;
	int r;

	if (fstatat(scan.folder_fd, "", &st, AT_EMPTY_PATH) < 0)
		return wload_fail(err, errno, "cannot stat '%s': %s", wload_checkpoint_folder(ckpt),
				  strerror(errno));
	r = add_entry(&scan, 0, "", &st, err);
	if (r == 0 && wload_checkpoint_file(ckpt))
		r = scan_file(&scan, wload_checkpoint_file(ckpt), err);
	else
		for (uint32_t i = 0; r == 0 && i < scan.own.count; i++)
			if (scan.own.entry[i].folder)
				r = scan_folder(&scan, i, err);
	if (r < 0) {
		own_free(&scan.own);
		return r;
	}
	*ret = scan.own;
	return 0;
}

void own_free(struct own *own)
{
	for (uint32_t i = 0; i < own->count; i++) {
		free(own->entry[i].name);
		if (own->entry[i].link_fd >= 0)
			close(own->entry[i].link_fd);
	}
	free(own->entry);
	*own = (struct own){0};
}

uint32_t own_find(const struct own *own, uint32_t folder, const char *name)
{
	uint32_t lo = own->entry[folder].first_child, hi = lo + own->entry[folder].child_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = strcmp(own->entry[mid].name, name);

		if (order == 0)
			return mid;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return OWN_NONE;
}

/* The entry's path from its ancestor `base`. */
static char *path_from(const struct own *own, uint32_t base, uint32_t index)
{
	size_t len = 0, at;
	char *path;

	for (uint32_t i = index; i != base; i = own->entry[i].parent)
		len += strlen(own->entry[i].name) + 1;
	if (len == 0)
		return strdup(".");
	path = malloc(len);
	if (!path)
		return NULL;
	path[at = len - 1] = '\0';
	for (uint32_t i = index; i != base; i = own->entry[i].parent) {
		size_t part = strlen(own->entry[i].name);

		at -= part;
		memcpy(path + at, own->entry[i].name, part);
		if (at)
			path[--at] = '/';
	}
	return path;
}

char *own_path(const struct own *own, uint32_t index)
{
	return path_from(own, 0, index);
}

/* A descriptor from which the entry is reached without following a link: of the entry itself, when
 * it was one, else of the nearest folder that was one, or of the root.
 *
 * ret_path  from there; allocated; NULL for the entry itself */
static int reach(const struct own *own, const struct wload_checkpoint *ckpt, uint32_t index,
		 int *ret_fd, char **ret_path)
{
	uint32_t base = index;

	while (base != 0 && own->entry[base].link_fd < 0)
		base = own->entry[base].parent;
	*ret_fd = base ? own->entry[base].link_fd : wload_checkpoint_folder_fd(ckpt);
	*ret_path = base == index ? NULL : path_from(own, base, index);
	return base == index || *ret_path ? 0 : -ENOMEM;
}

int own_stat(const struct own *own, const struct wload_checkpoint *ckpt, uint32_t index,
	     struct stat *ret)
{
	CLEANUP_FREE char *path = NULL;
	int fd, r = reach(own, ckpt, index, &fd, &path);

	if (r < 0)
		return r;
	return fstatat(fd, path ? path : "", ret, path ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

/* Opens again, for reading, what a descriptor is open on. */
static int reopen(int fd)
{
	char link[64];
	int again;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = open(link, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

int own_open_file(const struct own *own, const struct wload_checkpoint *ckpt, uint32_t index)
{
	CLEANUP_FREE char *path = NULL;
	int fd, r;

	if (own->entry[index].shard != OWN_NO_SHARD)
		return reopen(wload_checkpoint_shard(ckpt, own->entry[index].shard)->fd);
	r = reach(own, ckpt, index, &fd, &path);
	if (r < 0)
		return r;
	if (!path)
		return reopen(fd);
	fd = openat(fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}
