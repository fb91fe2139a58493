/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"
#include "loader/pipeline/out.h"
#include "loader/plan/out_layout.h"
#include "wloadfs/checkpoint.h"

#define INDEX_FILE "model.safetensors.index.json"

/* A file under its hidden name: ".NAME.partial". */
#define PARTIAL_NAME_MAX (OUT_FILE_NAME_MAX + 16)

struct out_file {
	int fd; /* -1: not open */
	bool made;
	uint64_t data_offset; /* where the parameters' bytes begin */
	uint64_t data_bytes;
};

/* config.json or the index. */
struct out_side {
	bool made, revealed;
};

struct out {
	const struct wload_plan *plan;
	char *dir;
	int dir_fd;
	bool made_dir, committed;
	struct out_side index, config;
	struct out_layout layout;
	struct out_file *files;
	uint32_t revealed; /* shards that have their names */
};

static void partial_name(const char *name, char partial[PARTIAL_NAME_MAX])
{
	(void)snprintf(partial, PARTIAL_NAME_MAX, ".%s.partial", name);
}

static int out_fail(const struct out *out, int error, const char *what, const char *name,
		    struct wload_error *err)
{
	return wload_fail(err, error, "'%s/%s' can't be %s: %s", out->dir, name, what,
			  strerror(error));
}

static bool ends_with(const char *name, const char *tail)
{
	size_t len = strlen(name), tail_len = strlen(tail);

	return len >= tail_len && strcmp(name + len - tail_len, tail) == 0;
}

static int refuse_checkpoint(const struct out *out, struct wload_error *err)
{
	int fd = dup(out->dir_fd), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		r = out_fail(out, errno, "listed", ".", err);
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		if (ends_with(entry->d_name, ".safetensors") ||
		    ends_with(entry->d_name, ".safetensors.index.json"))
			r = wload_fail(err, EEXIST, "'%s' already holds a checkpoint: '%s'",
				       out->dir, entry->d_name);
	closedir(dir);
	return r;
}

static int open_dir(struct out *out, struct wload_error *err)
{
	if (mkdir(out->dir, 0777) == 0)
		out->made_dir = true;
	else if (errno != EEXIST)
		return wload_fail(err, errno, "'%s' can't be made: %s", out->dir, strerror(errno));
	out->dir_fd = open(out->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out->dir_fd < 0)
		return wload_fail(err, errno, "'%s' can't be opened: %s", out->dir,
				  strerror(errno));
	return refuse_checkpoint(out, err);
}

static int write_at(const struct out *out, int fd, const char *name, const uint8_t *bytes, size_t n,
		    uint64_t offset, struct wload_error *err)
{
	while (n) {
		ssize_t k = pwrite(fd, bytes, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return out_fail(out, k < 0 ? errno : ENOSPC, "written", name, err);
		bytes += k;
		offset += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

static int create(struct out *out, const char *name, bool *made, int *ret_fd,
		  struct wload_error *err)
{
	char partial[PARTIAL_NAME_MAX];
	int fd;

	partial_name(name, partial);
	fd = openat(out->dir_fd, partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return wload_fail(err, EEXIST, "'%s/%s' was left by an interrupted load, remove it",
				  out->dir, partial);
	if (fd < 0)
		return out_fail(out, errno, "made", partial, err);
	*made = true;
	*ret_fd = fd;
	return 0;
}

/* The header of one shard. */
static int shard_header(const struct out *out, uint32_t shard, uint8_t **ret_bytes, size_t *ret_len,
			struct wload_error *err)
{
	uint32_t first = out->layout.first[shard], count = out->layout.first[shard + 1] - first;
	CLEANUP_FREE struct wload_tensor *tensors = calloc((size_t)count + 1, sizeof(*tensors));

	if (!tensors)
		return wload_fail(err, ENOMEM, "no memory for a header of %" PRIu32 " tensors",
				  count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t p = out->layout.order[first + i];
		const struct wload_param *param = wload_plan_param(out->plan, p);

		tensors[i] = (struct wload_tensor){.name = param->name,
						   .shape = param->shape,
						   .rank = param->rank,
						   .dtype = param->dtype,
						   .offset = out->layout.offset[p],
						   .bytes = param->bytes};
		out->files[shard].data_bytes += param->bytes;
	}
	return safetensors_write_header(tensors, count, ret_bytes, ret_len, err);
}

/* Makes a shard of its full size, with its header. */
static int create_shard(struct out *out, uint32_t shard, struct wload_error *err)
{
	struct out_file *file = &out->files[shard];
	CLEANUP_FREE uint8_t *header = NULL;
	char name[OUT_FILE_NAME_MAX];
	size_t header_len;
	uint64_t bytes;
	int r;

	out_layout_file(shard, out->layout.shards, name);
	r = create(out, name, &file->made, &file->fd, err);
	if (r == 0)
		r = shard_header(out, shard, &header, &header_len, err);
	if (r < 0)
		return r;
	file->data_offset = header_len;
	bytes = header_len + file->data_bytes;
	/* Not every filesystem can promise space; then a full disk shows while writing. */
	if (fallocate(file->fd, 0, 0, (off_t)bytes) < 0 &&
	    (errno == ENOSPC || ftruncate(file->fd, (off_t)bytes) < 0))
		return out_fail(out, errno, "given its size", name, err);
	return write_at(out, file->fd, name, header, header_len, 0, err);
}

/* Writes a small file under its hidden name. */
static int write_side(struct out *out, const char *name, const char *text, size_t len,
		      struct out_side *side, struct wload_error *err)
{
	CLEANUP_FD int fd = -1;
	int r = create(out, name, &side->made, &fd, err);

	if (r == 0)
		r = write_at(out, fd, name, (const uint8_t *)text, len, 0, err);
	if (r == 0 && fsync(fd) < 0)
		r = out_fail(out, errno, "written", name, err);
	return r;
}

static int write_sides(struct out *out, const char *config, struct wload_error *err)
{
	CLEANUP_FREE char *index = NULL;
	size_t index_len;
	int r = 0;

	if (config && faccessat(out->dir_fd, WLOAD_CONFIG_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		r = write_side(out, WLOAD_CONFIG_FILE, config, strlen(config), &out->config, err);
	if (r < 0 || out->layout.shards == 1)
		return r;
	r = out_layout_index(&out->layout, out->plan, &index, &index_len, err);
	if (r < 0)
		return r;
	return write_side(out, INDEX_FILE, index, index_len, &out->index, err);
}

static int lay_out(struct out *out, uint64_t shard_bytes, struct wload_error *err)
{
	int r = out->dir ? out_layout_build(out->plan, shard_bytes, &out->layout, err) : -ENOMEM;

	if (r == 0)
		out->files = calloc(out->layout.shards, sizeof(*out->files));
	if (!out->files)
		return wload_fail(err, ENOMEM, "no memory to lay out what is written");
	for (uint32_t s = 0; s < out->layout.shards; s++)
		out->files[s].fd = -1;
	return 0;
}

int out_open(const char *dir, const struct wload_plan *plan, const char *config,
	     uint64_t shard_bytes, struct out **ret_out, struct wload_error *err)
{
	struct out *out = calloc(1, sizeof(*out));
	int r;

	if (!out)
		return wload_fail(err, ENOMEM, "no memory to write '%s'", dir);
	*out = (struct out){.plan = plan, .dir_fd = -1, .dir = strdup(dir)};
	r = lay_out(out, shard_bytes, err);
	if (r == 0)
		r = open_dir(out, err);
	if (r == 0)
		r = write_sides(out, config, err);
	for (uint32_t s = 0; r == 0 && s < out->layout.shards; s++)
		r = create_shard(out, s, err);
	if (r < 0) {
		out_close(out);
		return r;
	}
	*ret_out = out;
	return 0;
}

int out_write(struct out *out, uint32_t param, uint64_t offset, const uint8_t *bytes, size_t n,
	      struct wload_error *err)
{
	uint32_t shard = out->layout.shard[param];
	const struct out_file *file = &out->files[shard];
	char name[OUT_FILE_NAME_MAX];

	out_layout_file(shard, out->layout.shards, name);
	return write_at(out, file->fd, name, bytes, n,
			file->data_offset + out->layout.offset[param] + offset, err);
}

/* Gives a file its name; never over one that somebody made meanwhile. */
static int reveal(const struct out *out, const char *name, struct wload_error *err)
{
	char partial[PARTIAL_NAME_MAX];

	partial_name(name, partial);
	if (renameat2(out->dir_fd, partial, out->dir_fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL && /* this filesystem has no such rename */
	    renameat(out->dir_fd, partial, out->dir_fd, name) == 0)
		return 0;
	return out_fail(out, errno, "given its name", name, err);
}

static int reveal_side(const struct out *out, const char *name, struct out_side *side,
		       struct wload_error *err)
{
	int r = side->made ? reveal(out, name, err) : 0;

	side->revealed = side->made && r == 0;
	return r;
}

int out_commit(struct out *out, struct wload_error *err)
{
	char name[OUT_FILE_NAME_MAX];
	int r = 0;

	/* Delayed allocation tells of a full disk here at the latest. */
	for (uint32_t s = 0; r == 0 && s < out->layout.shards; s++)
		if (fsync(out->files[s].fd) < 0)
			r = out_fail(out, errno, "written", "a shard", err);
	for (uint32_t s = 0; r == 0 && s < out->layout.shards; s++) {
		out_layout_file(s, out->layout.shards, name);
		r = reveal(out, name, err);
		out->revealed += r == 0;
	}
	if (r == 0)
		r = reveal_side(out, WLOAD_CONFIG_FILE, &out->config, err);
	if (r == 0)
		r = reveal_side(out, INDEX_FILE, &out->index, err);
	/* Not every filesystem can sync a folder; the names are there all the same. */
	if (r == 0)
		(void)fsync(out->dir_fd);
	out->committed = r == 0;
	return r;
}

static void remove_partial(const struct out *out, const char *name)
{
	char partial[PARTIAL_NAME_MAX];

	partial_name(name, partial);
	(void)unlinkat(out->dir_fd, partial, 0);
}

static void remove_side(const struct out *out, const char *name, const struct out_side *side)
{
	if (side->revealed)
		(void)unlinkat(out->dir_fd, name, 0);
	else if (side->made)
		remove_partial(out, name);
}

/* Removes what this load made, under whichever name it has by now. */
static void remove_all(const struct out *out)
{
	char name[OUT_FILE_NAME_MAX];

	for (uint32_t s = 0; out->files && s < out->layout.shards; s++) {
		out_layout_file(s, out->layout.shards, name);
		if (s < out->revealed)
			(void)unlinkat(out->dir_fd, name, 0);
		else if (out->files[s].made)
			remove_partial(out, name);
	}
	remove_side(out, INDEX_FILE, &out->index);
	remove_side(out, WLOAD_CONFIG_FILE, &out->config);
	if (out->made_dir)
		(void)rmdir(out->dir);
}

void out_close(struct out *out)
{
	if (!out)
		return;
	for (uint32_t s = 0; out->files && s < out->layout.shards; s++)
		if (out->files[s].fd >= 0)
			close(out->files[s].fd);
	if (!out->committed && out->dir_fd >= 0)
		remove_all(out);
	if (out->dir_fd >= 0)
		close(out->dir_fd);
	out_layout_free(&out->layout);
	free(out->files);
	free(out->dir);
	free(out);
}
