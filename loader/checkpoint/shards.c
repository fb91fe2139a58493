/* SPDX-License-Identifier: Apache-2.0 */
/* Opens shards and reads their headers.
 *
 * A shard's descriptor is set to FADV_RANDOM before its first byte is read: read-ahead behind 80
 * headers would leave 94 MiB of tensors in the page cache that nobody asked for. It stays so,
 * because whoever reads tensors through it knows the extents and asks for whole ones. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "loader/base/pagecache.h"
#include "loader/checkpoint/shards.h"

enum { OTHER_DESCRIPTORS = 256 }; /* what the rest of the process may hold */

void shards_raise_limit(size_t count)
{
	struct rlimit limit;
	rlim_t want = count + OTHER_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Opens the shard in the folder; as a wload_shard_opener would. */
static int open_in_folder(const struct folder *folder, const char *name, int *ret_fd,
			  char **ret_path, struct wload_error *err)
{
	const char *slash = strcmp(folder->path, "/") == 0 ? "" : "/";
	char *path CLEANUP_FREE = NULL;
	int fd;

	if (asprintf(&path, "%s%s%s", folder->path, slash, name) < 0) {
		path = NULL;
		return wload_fail(err, ENOMEM, "out of memory for shard '%s'", name);
	}
	fd = folder_open_file(folder, name);
	if (fd == -EINVAL)
		return wload_fail(err, EINVAL, "shard '%s' is not a regular file", name);
	if (fd < 0)
		return wload_fail(err, -fd, "cannot open shard '%s': %s", path, strerror(-fd));
	*ret_fd = fd;
	*ret_path = TAKE_PTR(path);
	return 0;
}

int shard_open(const struct folder *folder, const char *name, wload_shard_opener opener, void *ctx,
	       struct wload_shard *ret_shard, struct wload_error *err)
{
	int fd CLEANUP_FD = -1;
	char *path CLEANUP_FREE = NULL, *copy CLEANUP_FREE = strdup(name);
	struct stat st;
	int r;

	if (!copy)
		return wload_fail(err, ENOMEM, "out of memory for shard '%s'", name);
	r = opener ? opener(ctx, name, &fd, &path, err)
		   : open_in_folder(folder, name, &fd, &path, err);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return wload_fail(err, errno, "cannot stat shard '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wload_fail(err, EINVAL, "shard '%s' is not a regular file", path);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	*ret_shard = (struct wload_shard){
		.name = TAKE_PTR(copy),
		.path = TAKE_PTR(path),
		.fd = TAKE_FD(fd),
		.bytes = (uint64_t)st.st_size,
		.dev = st.st_dev,
		.ino = st.st_ino,
		.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
	};
	return 0;
}

void shard_close(struct wload_shard *shard)
{
	if (shard->fd >= 0)
		close(shard->fd);
	free((char *)shard->name);
	free((char *)shard->path);
}

/* ---- headers -------------------------------------------------------------------------------- */

static int read_bytes(const struct wload_shard *shard, void *buffer, size_t len, uint64_t offset,
		      struct wload_error *err)
{
	ssize_t got = io_read_at(shard->fd, buffer, len, offset);

	if (got < 0)
		return wload_fail(err, (int)-got, "cannot read it: %s", strerror((int)-got));
	if ((size_t)got < len)
		return wload_fail(err, ESTALE, "it became shorter while it was read");
	return 0;
}

static int read_header(struct wload_shard *shard, struct shard_reader *reader,
		       struct wload_error *err)
{
	uint8_t prefix[SAFETENSORS_PREFIX_BYTES] = {0};
	uint64_t len;
	int r = 0;

	if (shard->bytes >= sizeof(prefix))
		r = read_bytes(shard, prefix, sizeof(prefix), 0, err);
	if (r == 0)
		r = safetensors_read_prefix(prefix, shard->bytes, &len, err);
	if (r < 0)
		return r;
	if (!grow_array(&reader->bytes, &reader->cap, (size_t)len, 1))
		return wload_fail(err, ENOMEM, "out of memory for a header of %" PRIu64 " bytes",
				  len);
	r = read_bytes(shard, reader->bytes, (size_t)len, sizeof(prefix), err);
	if (r < 0)
		return r;
	shard->data_offset = sizeof(prefix) + len;
	return safetensors_parse_header(reader->bytes, (size_t)len,
					shard->bytes - shard->data_offset, &reader->header, err);
}

/* Drops the header's pages; the last one, which tensors share, goes too, as nobody has read them.
 */
static void drop_header(const struct wload_shard *shard)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)posix_fadvise(shard->fd, 0, (off_t)((shard->data_offset + page - 1) / page * page),
			    POSIX_FADV_DONTNEED);
}

int shard_read_header(struct wload_shard *shard, struct shard_reader *reader,
		      struct wload_error *err)
{
	struct wload_error why = {0};
	uint64_t cached = 0;
	int r;

	/* Of a file that is cached already the header is somebody's: dropping its last page would
	 * have a load fetch the first tensor from the disk. */
	(void)pagecache_bytes(shard->fd, 0, 1, &cached);
	r = read_header(shard, reader, &why);
	if (r < 0)
		return wload_fail(err, -r, "shard '%s': %s", shard->path, why.text);
	if (!cached)
		drop_header(shard);
	return 0;
}

void shard_reader_clear(struct shard_reader *reader)
{
	free(reader->bytes);
	safetensors_clear(&reader->header);
	*reader = (struct shard_reader){0};
}
