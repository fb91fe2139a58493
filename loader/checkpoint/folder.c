/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint's folder: found once, held by an O_PATH descriptor, and everything in it opened
 * relative to that. So a mount may later cover the folder's own path and the files below it stay
 * reachable. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "loader/base/pagecache.h"
#include "loader/base/untouched.h"
#include "loader/checkpoint/folder.h"

#define BLOCK_BYTES ((size_t)4096) /* O_DIRECT's largest usual alignment */

static int system_failed(struct wload_error *err, int code, const char *what, const char *name)
{
	return wload_fail(err, code, "cannot %s '%s': %s", what, name, strerror(code));
}

/* Splits "a/b.safetensors" into "a" and "b.safetensors"; *ret_file stays NULL for a folder. */
static int split_path(const char *path, char **ret_dir, char **ret_file, struct wload_error *err)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (stat(path, &st) < 0)
		return system_failed(err, errno, "find", path);
	if (S_ISDIR(st.st_mode)) {
		*ret_dir = strdup(path);
		return *ret_dir ? 0 : wload_fail(err, ENOMEM, "out of memory");
	}
	*ret_file = strdup(slash ? slash + 1 : path);
	if (!slash)
		*ret_dir = strdup(".");
	else
		*ret_dir = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	return *ret_file && *ret_dir ? 0 : wload_fail(err, ENOMEM, "out of memory");
}

int folder_open(const char *path, struct folder *ret_folder, struct wload_error *err)
{
	struct folder folder CLEANUP(folder_close) = {.fd = -1};
	char *dir CLEANUP_FREE = NULL;
	int r = split_path(path, &dir, &folder.file, err);

	if (r < 0)
		return r;
	folder.fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder.fd < 0)
		return system_failed(err, errno, "open the folder", dir);
	folder.path = realpath(dir, NULL);
	if (!folder.path)
		return system_failed(err, errno, "resolve", dir);
	*ret_folder = folder;
	folder = (struct folder){.fd = -1};
	return 0;
}

void folder_close(struct folder *folder)
{
	if (folder->fd >= 0)
		close(folder->fd);
	free(folder->path);
	free(folder->file);
	*folder = (struct folder){.fd = -1};
}

/* ---- listing -------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
	size_t len = strlen(name), want = strlen(end);

	return len >= want && strcmp(name + len - want, end) == 0;
}

static bool begins_with(const char *name, const char *begin)
{
	return strncmp(name, begin, strlen(begin)) == 0;
}

static bool add_name(char ***names, size_t *count, size_t *cap, const char *name)
{
	char *copy CLEANUP_FREE = strdup(name);

	if (!copy || !grow_array(names, cap, *count + 2, sizeof(**names)))
		return false;
	(*names)[(*count)++] = TAKE_PTR(copy);
	(*names)[*count] = NULL;
	return true;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_names(DIR *dir, struct folder_listing *listing)
{
	size_t shards_cap = 0, indexes_cap = 0;
	const char *name;
	struct dirent *entry;
	bool added = true;

	while (errno = 0, added && (entry = readdir(dir))) {
		name = entry->d_name;
		if (name[0] == '.')
			continue;
		if (ends_with(name, ".safetensors.index.json"))
			added = add_name(&listing->indexes, &listing->index_count, &indexes_cap,
					 name);
		else if (ends_with(name, ".safetensors") && !begins_with(name, "consolidated"))
			added = add_name(&listing->shards, &listing->shard_count, &shards_cap,
					 name);
	}
	if (!added)
		return -ENOMEM;
	if (errno)
		return -errno;
	if (listing->shard_count > 1)
		qsort(listing->shards, listing->shard_count, sizeof(char *), compare_names);
	if (listing->index_count > 1)
		qsort(listing->indexes, listing->index_count, sizeof(char *), compare_names);
	return 0;
}

int folder_list(const struct folder *folder, struct folder_listing *ret, struct wload_error *err)
{
	struct folder_listing listing CLEANUP(folder_listing_clear) = {0};
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir;
	int r;

	if (fd < 0)
		return system_failed(err, errno, "list the folder", folder->path);
	dir = fdopendir(fd);
	if (!dir)
		return system_failed(err, errno, "list the folder", folder->path);
	(void)TAKE_FD(fd);
	r = list_names(dir, &listing);
	(void)closedir(dir);
	if (r < 0)
		return system_failed(err, -r, "list the folder", folder->path);
	*ret = listing;
	listing = (struct folder_listing){0};
	return 0;
}

static void free_names(char **names)
{
	size_t i;

	for (i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

void folder_listing_clear(struct folder_listing *listing)
{
	free_names(listing->shards);
	free_names(listing->indexes);
	*listing = (struct folder_listing){0};
}

/* ---- files ---------------------------------------------------------------------------------- */

int folder_open_file(const struct folder *folder, const char *name)
{
	struct stat st;
	int fd;

	/* asked first: opening a FIFO would wait, opening a device may do anything */
	if (fstatat(folder->fd, name, &st, 0) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	fd = openat(folder->fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* What a stacked filesystem (overlayfs, the mount itself) reads is cached for the file beneath, and
 * nothing drops it through this one: so it is read past the page cache, where that works.
 *
 * text  aligned, with room for whole blocks
 *
 * Returns the bytes read, or -errno when it is to be read the ordinary way. */
static ssize_t read_stacked(const struct folder *folder, const char *name, int fd, char *text,
			    size_t room)
{
	int direct CLEANUP_FD = -1;

	if (!pagecache_is_stacked(fd))
		return -EOPNOTSUPP;
	direct = openat(folder->fd, name, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOCTTY);
	return direct < 0 ? -errno : io_read_at(direct, text, room, 0);
}

/* Reads a file of which nothing is left in the page cache that was not there before. */
static ssize_t read_untouched(const struct folder *folder, const char *name, int fd, char *text,
			      size_t len)
{
	size_t room = (len / BLOCK_BYTES + 1) * BLOCK_BYTES;
	ssize_t got = read_stacked(folder, name, fd, text, room);
	struct untouched before;

	if (got >= 0 && (size_t)got == len)
		return got;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* reads no further than asked */
	before = untouched_before(fd, 0, len);
	got = io_read_at(fd, text, len, 0);
	untouched_after(&before);
	return got;
}

int folder_read_file(const struct folder *folder, const char *name, size_t max, char **ret_text,
		     size_t *ret_len, struct wload_error *err)
{
	int fd CLEANUP_FD = folder_open_file(folder, name);
	char *text CLEANUP_FREE = NULL;
	struct stat st;
	ssize_t got;
	size_t len;

	if (fd < 0)
		return fd == -EINVAL ? wload_fail(err, EINVAL, "'%s' is not a regular file", name)
				     : system_failed(err, -fd, "open", name);
	if (fstat(fd, &st) < 0)
		return system_failed(err, errno, "read", name);
	if ((uint64_t)st.st_size > max)
		return wload_fail(err, E2BIG, "'%s' has %jd bytes, over the limit of %zu", name,
				  (intmax_t)st.st_size, max);
	len = (size_t)st.st_size;
	text = aligned_alloc(BLOCK_BYTES, (len / BLOCK_BYTES + 1) * BLOCK_BYTES);
	if (!text)
		return wload_fail(err, ENOMEM, "out of memory for '%s'", name);
	got = read_untouched(folder, name, fd, text, len);
	if (got < 0)
		return system_failed(err, (int)-got, "read", name);
	if ((size_t)got < len)
		return wload_fail(err, ESTALE, "'%s' became shorter while it was read", name);
	text[len] = '\0';
	*ret_text = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}
