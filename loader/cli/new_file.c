/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/cli/new_file.h"

static int fail(const char *path, int error, struct wload_error *err)
{
	return wload_fail(err, error, "'%s' can't be written: %s", path, strerror(error));
}

/* The file's own path, a link followed: a rename would replace the link. */
static int resolve(const char *path, char **ret_path, struct wload_error *err)
{
	CLEANUP_FREE char *real = realpath(path, NULL);
	struct stat st;

	if (!real && errno != ENOENT)
		return fail(path, errno, err);
	if (!real && lstat(path, &st) == 0)
		return wload_fail(err, ENOENT, "'%s' can't be written: it is a link to nothing",
				  path);
	if (real && (stat(real, &st) < 0 || access(real, W_OK) < 0))
		return fail(path, errno, err);
	if (real && !S_ISREG(st.st_mode))
		return wload_fail(err, EINVAL, "'%s' can't be written: it is not a regular file",
				  path);
	*ret_path = real ? TAKE_PTR(real) : strdup(path);
	return *ret_path ? 0 : fail(path, ENOMEM, err);
}

/* "DIR/.NAME.PID.partial", of NAME so much that it is no longer than a name may be. */
static char *partial_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *partial;

	return asprintf(&partial, "%.*s.%.200s.%ld.partial", (int)(name - path), path, name,
			(long)getpid()) < 0
		       ? NULL
		       : partial;
}

int new_file_open(const char *path, struct new_file *ret_file, struct wload_error *err)
{
	CLEANUP_FREE char *own = NULL;
	CLEANUP_FREE char *partial = NULL;
	int fd, r;

	*ret_file = (struct new_file){.fd = -1};
	r = resolve(path, &own, err);
	if (r < 0)
		return r;
	partial = partial_of(own);
	if (!partial)
		return fail(path, ENOMEM, err);
	fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail(path, errno, err);
	*ret_file =
		(struct new_file){.fd = fd, .path = TAKE_PTR(own), .partial = TAKE_PTR(partial)};
	return 0;
}

int new_file_commit(struct new_file *file, const struct text *text, struct wload_error *err)
{
	size_t done = 0;

	if (text->failed)
		return fail(file->path, ENOMEM, err);
	while (done < text->len) {
		ssize_t n = write(file->fd, text->s + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return fail(file->path, errno, err);
		done += n < 0 ? 0 : (size_t)n;
	}
	/* a full disk may show only here */
	if (fsync(file->fd) < 0 || rename(file->partial, file->path) < 0)
		return fail(file->path, errno, err);
	free(TAKE_PTR(file->partial));
	return 0;
}

void new_file_close(struct new_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->partial)
		(void)unlink(file->partial);
	free(file->partial);
	free(file->path);
	*file = (struct new_file){.fd = -1};
}
