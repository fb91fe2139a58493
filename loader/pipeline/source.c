/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/pipeline/rank_choice.h"
#include "loader/pipeline/source.h"
#include "loader/pipeline/source_text.h"

/* What the shard opener works on. */
struct opening {
	const struct source *source;
	struct source_head head;
};

static void opening_free(struct opening *opening)
{
	source_head_free(&opening->head);
}

static FILE *open_index(const struct source *source, struct wload_error *err)
{
	CLEANUP_FREE char *path = NULL;
	FILE *index;

	if (asprintf(&path, "%s/" WLOAD_CONTROL_DIR "/index.jsonl", source->root) < 0) {
		path = NULL;
		(void)wload_fail(err, ENOMEM, "no memory for a path");
		return NULL;
	}
	index = fopen(path, "re");
	if (!index)
		(void)wload_fail(err, errno, "'%s' can't be opened: %s", path, strerror(errno));
	return index;
}

/* Reads a line without its newline; false at the end. */
static bool next_line(FILE *file, char **line, size_t *cap, size_t *ret_len)
{
	ssize_t n = getline(line, cap, file);

	if (n < 0)
		return false;
	if (n && (*line)[n - 1] == '\n')
		n--;
	*ret_len = (size_t)n;
	return true;
}

static int read_head(const struct source *source, struct source_head *ret_head,
		     struct wload_error *err)
{
	CLEANUP_FCLOSE FILE *index = open_index(source, err);
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0, len;

	if (!index)
		return -(err && err->code ? err->code : EIO);
	if (!next_line(index, &line, &cap, &len))
		return wload_fail(err, EBADMSG, "the mount's index.jsonl is empty");
	return source_parse_head(line, len, ret_head, err);
}

/* Is what was opened as large and as old as what was mounted? */
static bool is_unchanged(const struct source_backing *backing, const struct stat *st)
{
	return (uint64_t)st->st_size == backing->bytes &&
	       (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec ==
		       backing->mtime_ns;
}

static int fail_changed(const struct source *source, const char *name, struct wload_error *err)
{
	return wload_fail(err, ESTALE, "shard '%s' changed since '%s' was mounted; mount it again",
			  name, source->root);
}

/* Opens the file behind a shard.
 *
 * Returns 0, -ENOENT when another file is there now, or none that can be opened, -ESTALE when the
 * file that was mounted changed. */
static int open_backing(const struct source_backing *backing, int *ret_fd)
{
	CLEANUP_FD int fd = open(backing->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -ENOENT;
	/* The daemon holds the file that was mounted, so nobody else has its number. */
	if (st.st_dev != backing->dev || st.st_ino != backing->ino)
		return -ENOENT;
	if (!is_unchanged(backing, &st))
		return -ESTALE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Opens the mount's own file of a shard.
 *
 * backing  what was mounted, or NULL when the mount does not tell */
static int open_on_mount(const struct source *source, const char *name,
			 const struct source_backing *backing, int *ret_fd, char **ret_path,
			 struct wload_error *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (asprintf(&path, "%s/%s", source->files, name) < 0) {
		path = NULL;
		return wload_fail(err, ENOMEM, "no memory for a path");
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ESTALE)
		return fail_changed(source, name, err);
	if (fd < 0 || fstat(fd, &st) < 0)
		return wload_fail(err, errno, "'%s' can't be opened: %s", path, strerror(errno));
	if (backing && !is_unchanged(backing, &st))
		return fail_changed(source, name, err);
	*ret_fd = TAKE_FD(fd);
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* A wload_shard_opener. */
static int open_shard(void *ctx, const char *name, int *ret_fd, char **ret_path,
		      struct wload_error *err)
{
	const struct opening *opening = ctx;
	const struct source_backing *backing = source_head_find(&opening->head, name);
	CLEANUP_FD int fd = -1;
	int r = backing ? open_backing(backing, &fd) : -ENOENT;
	char *path;

	if (r == -ESTALE)
		return fail_changed(opening->source, name, err);
	if (r < 0)
		return open_on_mount(opening->source, name, backing, ret_fd, ret_path, err);
	path = strdup(backing->path);
	if (!path)
		return wload_fail(err, ENOMEM, "no memory for a path");
	*ret_path = path;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int read_stats(struct source *source, struct wload_error *err)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t pid = 0;
	int r = wload_mount_stats(source->mount, &text, err);

	if (r == 0)
		r = source_parse_stats(text, strlen(text), &pid, &source->consumed_before, err);
	source->daemon_pid = pid <= INT_MAX ? (int)pid : 0;
	return r;
}

/* Of a rank's checkpoint, whose own files are made, those that they are made from. */
static int find_files(struct source *source, struct wload_error *err)
{
	struct wload_mount_slice slice;
	const char *below =
		wload_mount_slice(source->mount, &slice) ? "/" WLOAD_CONTROL_DIR "/checkpoint" : "";

	if (asprintf(&source->files, "%s%s", source->root, below) >= 0)
		return 0;
	source->files = NULL;
	return wload_fail(err, ENOMEM, "no memory for a path");
}

static int open_mounted(const char *path, struct source *source, struct wload_error *err)
{
	struct opening opening CLEANUP(opening_free) = {.source = source};
	CLEANUP_FREE char *file = NULL;
	int r;

	source->root = realpath(path, NULL);
	if (!source->root)
		return wload_fail(err, errno, "'%s': %s", path, strerror(errno));
	source->of_rank = wload_mount_rank(source->mount, &source->rank, &source->ranks);
	r = find_files(source, err);
	if (r == 0)
		r = read_stats(source, err);
	if (r == 0)
		r = read_head(source, &opening.head, err);
	if (r < 0)
		return r;
	if (opening.head.file && asprintf(&file, "%s/%s", source->files, opening.head.file) < 0) {
		file = NULL;
		return wload_fail(err, ENOMEM, "no memory for a path");
	}
	return wload_checkpoint_open(file ? file : source->files, open_shard, &opening,
				     &source->ckpt, err);
}

int source_open(const char *path, struct source *ret_source, struct wload_error *err)
{
	struct wload_error why = {0}; /* that it is no mount is no failure */
	int r;

	*ret_source = (struct source){0};
	r = wload_mount_open(path, &ret_source->mount, &why);
	if (r == -ENODEV)
		return wload_checkpoint_open(path, NULL, NULL, &ret_source->ckpt, err);
	if (r < 0)
		return wload_fail(err, -r, "%s", why.text);
	return open_mounted(path, ret_source, err);
}

void source_close(struct source *source)
{
	wload_checkpoint_close(source->ckpt);
	if (source->mount)
		wload_mount_close(source->mount);
	free(source->root);
	free(source->files);
	wload_rules_free(source->rules);
	*source = (struct source){0};
}

int source_slice(struct source *source, const char *path, struct wload_plan_options *wanted,
		 struct wload_error *err)
{
	struct wload_mount_slice slice;
	bool sliced = source->mount && wload_mount_slice(source->mount, &slice) && !wanted->tp;
	int r = sliced ? rank_take_slice(path, &slice, wanted, err) : 0;

	if (r == 0 && sliced && slice.rules && !wanted->rules) {
		r = wload_rules_load(slice.rules, &source->rules, err);
		wanted->rules = source->rules;
	}
	if (r < 0)
		return r;
	return rank_choose(path, source->of_rank, source->rank, source->ranks, wanted->tp,
			   wanted->rank, &wanted->rank, err);
}

/* Is it a consumed tensor that the plan needs? Its name is copied when it is the first. */
static int count_consumed(const struct source *source, const struct wload_plan *plan,
			  const char *line, size_t len, char **first, uint64_t *count,
			  struct wload_error *err)
{
	CLEANUP_FREE char *name = NULL;
	uint32_t tensor;
	int r;

	/* Nearly every line is a live tensor's; only the others are worth parsing. */
	if (!memmem(line, len, "\"consumed\"", strlen("\"consumed\"")))
		return 0;
	r = source_parse_consumed(line, len, &name, err);
	if (r < 0 || !name)
		return r;
	if (wload_inventory_find(wload_checkpoint_inventory(source->ckpt), name, &tensor) < 0 ||
	    !wload_plan_uses(plan, tensor))
		return 0;
	if ((*count)++ == 0)
		*first = TAKE_PTR(name);
	return 0;
}

int source_refuse_consumed(const struct source *source, const struct wload_plan *plan,
			   struct wload_error *err)
{
	CLEANUP_FREE char *line = NULL;
	CLEANUP_FREE char *first = NULL;
	CLEANUP_FCLOSE FILE *index = NULL;
	size_t cap = 0, len;
	uint64_t count = 0;
	int r;

	if (!source->mount || source->consumed_before == 0)
		return 0;
	index = open_index(source, err);
	if (!index || !next_line(index, &line, &cap, &len))
		return wload_fail(err, EIO, "the index of the mount '%s' can't be read",
				  source->root);
	while (next_line(index, &line, &cap, &len)) {
		r = count_consumed(source, plan, line, len, &first, &count, err);
		if (r < 0)
			return r;
	}
	if (count == 0)
		return 0;
	return wload_fail(err, ESTALE,
			  "%" PRIu64 " of the tensors that are needed are consumed already, '%s' "
			  "first; 'wload restore %s' brings them back",
			  count, first, source->root);
}
