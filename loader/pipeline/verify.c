/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "loader/base/pagecache.h"
#include "loader/base/untouched.h"
#include "loader/checkpoint/names.h"
#include "loader/pipeline/memory.h"
#include "loader/pipeline/verify.h"

#define NOTHING_OPEN UINT64_MAX

void verify_open(struct verify *verify, const struct wload_checkpoint *ckpt, const char *mount,
		 uint32_t every)
{
	*verify = (struct verify){
		.ckpt = ckpt, .mount = mount, .every = every, .fd = -1, .opened = NOTHING_OPEN};
}

static bool is_uncached(int fd, uint64_t lo, uint64_t hi)
{
	uint64_t cached;

	return lo >= hi || (pagecache_bytes(fd, lo, hi, &cached) == 0 && cached == 0);
}

/* Finds the pages of a tensor that its reading brings in. Asked before the first byte: the mount
 * reads ahead of us, so that later nothing tells our pages from others'. The first and the last
 * page may be a neighbour's, too. */
static void own_pages(struct verify *verify, const struct wload_tensor *t)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = t->offset + t->bytes;
	uint64_t first = t->offset / page * page, last = end / page * page;
	uint64_t lo = first == t->offset ? first : first + page;

	verify->shard_fd = wload_checkpoint_shard(verify->ckpt, t->shard)->fd;
	verify->lo = verify->hi = 0;
	if (lo > last || !is_uncached(verify->shard_fd, lo, last))
		return;
	verify->lo = is_uncached(verify->shard_fd, first, lo) ? first : lo;
	verify->hi =
		end > last && is_uncached(verify->shard_fd, last, last + page) ? last + page : last;
}

/* Gives back what reading bytes [from, until) of the shard left of those pages. */
static void give_back(const struct verify *verify, uint64_t from, uint64_t until)
{
	uint64_t lo = from > verify->lo ? from : verify->lo;
	uint64_t hi = until < verify->hi ? until : verify->hi;

	if (lo < hi)
		(void)posix_fadvise(verify->shard_fd, (off_t)lo, (off_t)(hi - lo),
				    POSIX_FADV_DONTNEED);
}

void verify_close(struct verify *verify)
{
	if (verify->fd >= 0)
		close(verify->fd);
	give_back(verify, 0, UINT64_MAX);
	verify->lo = verify->hi = 0;
	verify->fd = -1;
	verify->opened = NOTHING_OPEN;
}

static int open_tensor(const struct verify *verify, const struct wload_tensor *tensor, int *ret_fd,
		       struct wload_error *err)
{
	char path[PATH_MAX], file[NAME_FILE_MAX + 1];
	CLEANUP_FD int fd = -1;
	struct stat st;

	(void)name_to_file(tensor->name, strlen(tensor->name), "", file);
	if (snprintf(path, sizeof(path), "%s/tensors/%s", verify->mount, file) >= PATH_MAX)
		return wload_fail(err, ENAMETOOLONG, "'%s/tensors/%s' is too long a path",
				  verify->mount, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return wload_fail(err, errno, "'%s' can't be opened to verify it: %s", path,
				  strerror(errno));
	if ((uint64_t)st.st_size != tensor->bytes)
		return wload_fail(err, ESTALE,
				  "'%s' has %" PRId64 " bytes, its shard says %" PRIu64, path,
				  (int64_t)st.st_size, tensor->bytes);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_shard(const struct verify *verify, uint32_t index, int *ret_fd,
		      struct wload_error *err)
{
	const struct wload_shard *shard = wload_checkpoint_shard(verify->ckpt, index);
	CLEANUP_FD int fd = open(shard->path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return wload_fail(err, errno, "shard '%s' can't be opened to verify it: %s",
				  shard->path, strerror(errno));
	if (st.st_dev != shard->dev || st.st_ino != shard->ino)
		return wload_fail(err, ESTALE, "shard '%s' was replaced during the load",
				  shard->path);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Makes fd the tensor's file, or its shard; neighbours in a shard share the descriptor. */
static int ensure_open(struct verify *verify, uint32_t index, const struct wload_tensor *tensor,
		       struct wload_error *err)
{
	uint64_t wanted = verify->mount ? index : tensor->shard;
	int r;

	if (verify->opened == wanted)
		return 0;
	verify_close(verify);
	if (verify->mount)
		own_pages(verify, tensor);
	r = verify->mount ? open_tensor(verify, tensor, &verify->fd, err)
			  : open_shard(verify, tensor->shard, &verify->fd, err);
	if (r == 0)
		verify->opened = wanted;
	return r;
}

int verify_read(struct verify *verify, uint32_t tensor, uint64_t offset, uint8_t *buf, size_t n,
		struct wload_error *err)
{
	struct wload_tensor t =
		wload_inventory_tensor(wload_checkpoint_inventory(verify->ckpt), tensor);
	uint64_t at = verify->mount ? offset : t.offset + offset;
	struct untouched before = {0};
	ssize_t got;
	int r = ensure_open(verify, tensor, &t, err);

	if (r < 0)
		return r;
	memory_watch(verify->memory, t.shard);
	if (!verify->mount)
		before = untouched_before(wload_checkpoint_shard(verify->ckpt, t.shard)->fd,
					  t.offset + offset, n);
	got = io_read_at(verify->fd, buf, n, at);
	untouched_after(&before);
	give_back(verify, t.offset + offset, t.offset + offset + n);
	if (got < 0)
		return wload_fail(err, EIO, "tensor '%s': verifying byte %" PRIu64 ": %s", t.name,
				  offset, strerror((int)-got));
	if ((size_t)got < n)
		return wload_fail(err, ESTALE,
				  "tensor '%s' ends at byte %" PRIu64 " of %" PRIu64
				  " while verifying it",
				  t.name, offset + (uint64_t)got, t.bytes);
	return 0;
}

size_t verify_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
	if (memcmp(a, b, n) == 0)
		return n;
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return i;
	return n;
}
