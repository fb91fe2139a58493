/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of a mount: is PATH one, and a conversation with its .wload/ files.
 *
 * Consumption in bulk is text on one descriptor: whole lines are gathered into requests of at most
 * REQUEST_MAX bytes (FUSE hands a write of that size to the daemon in one piece), and each
 * request's answer, one number a line, is read before the next is sent. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "wloadfs/mount.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "loader/checkpoint/names.h"
#include "loader/mount/mountinfo.h"
#include "loader/mount/ranks.h"
#include "loader/mount/request.h"

/* Most answers are small, but layers.json has a line of 100 bytes and more for each layer, of which
 * every tensor may be one; more than this is not ours. */
#define FILE_MAX (1u << 30)

struct wload_mount {
	int root_fd; /* O_PATH */
	char *root;  /* the path that was opened; for messages, as the next */
	char *mount_point;
	struct ranks ranks;
	atomic_bool knows_no_loaded; /* its daemon takes `loaded NAME` for a bad line */
};

static int fail_gone(struct wload_error *err, const char *root)
{
	return wload_fail(err, ENOTCONN,
			  "'%s' is a wloadfs mount whose daemon is gone; "
			  "clear it with 'fusermount3 -u %s'",
			  root, root);
}

static int fail_file(struct wload_error *err, const struct wload_mount *mount, const char *what,
		     const char *file, int code)
{
	if (code == ENOTCONN || code == ECONNABORTED)
		return fail_gone(err, mount->mount_point);
	return wload_fail(err, code, "cannot %s '%s/%s/%s': %s", what, mount->root,
			  WLOAD_CONTROL_DIR, file, strerror(code));
}

/* Reads fd to its end into a text, NUL-terminated; files of the kernel's and ours tell no size
 * beforehand.
 *
 * Returns 0 or -errno. */
static int read_all(int fd, struct text *text)
{
	char chunk[16384];
	ssize_t n;

	text_add(text, "", 0);
	for (;;) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return text->failed ? -ENOMEM : 0;
		text_add(text, chunk, (size_t)n);
		if (text->len > FILE_MAX)
			return -EFBIG;
	}
}

static int read_mountinfo(struct text *text, struct wload_error *err)
{
	int fd CLEANUP_FD = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : read_all(fd, text);

	if (r < 0)
		return wload_fail(err, -r, "cannot read '/proc/self/mountinfo': %s", strerror(-r));
	return 0;
}

/* Where the kernel says that an open descriptor leads. */
static int descriptor_path(int fd, char **ret_path)
{
	char link[64], path[PATH_MAX];
	ssize_t len;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return -errno;
	path[len] = '\0';
	*ret_path = strdup(path);
	return *ret_path ? 0 : -ENOMEM;
}

static int fail_stat(const char *path, const char *real, char *mountinfo, int code,
		     struct wload_error *err)
{
	const char *root = NULL;

	if (code == ENOTCONN || code == ECONNABORTED)
		root = mountinfo_covering(mountinfo, real);
	if (root)
		return fail_gone(err, root);
	return wload_fail(err, code, "cannot open '%s': %s", path, strerror(code));
}

static int fail_inside(const char *path, const char *mount_point, const char *why,
		       struct wload_error *err)
{
	return wload_fail(err, EINVAL,
			  "'%s' lies inside of the wloadfs mount at '%s'%s; name its root, or "
			  "ranks/R of one with ranks",
			  path, mount_point, why);
}

/* Decides whether fd, opened from path, is the root of a mount of ours, or what may be a rank's
 * folder.
 *
 * Returns 0, 1 for the latter, or -errno. */
static int check_place(const char *path, int fd, const char *real, char **ret_mount_point,
		       uint32_t *ret_rank, struct wload_error *err)
{
	struct text mountinfo CLEANUP(text_free) = {0};
	enum mountinfo_place place;
	const char *root = real;
	struct stat st;
	int r;

	r = read_mountinfo(&mountinfo, err);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return fail_stat(path, real, mountinfo.s, errno, err);
	place = mountinfo_place(mountinfo.s, major(st.st_dev), minor(st.st_dev), real, &root,
				ret_rank);
	if (place == MOUNTINFO_ELSEWHERE)
		return wload_fail(err, ENODEV, "'%s' is not a wloadfs mount", path);
	if (place == MOUNTINFO_INSIDE)
		return fail_inside(path, root, "", err);
	*ret_mount_point = strdup(root);
	if (!*ret_mount_point)
		return wload_fail(err, ENOMEM, "out of memory");
	return place == MOUNTINFO_RANK;
}

/* What lies at ranks/R is a rank's only if its own stats.json says so: a checkpoint's folder may be
 * called that in a mount without ranks. */
static int check_rank(struct wload_mount *mount, const char *path, uint32_t rank,
		      struct wload_error *err)
{
	struct wload_error why = {0};
	char *json CLEANUP_FREE = NULL;
	int r = wload_mount_stats(mount, &json, &why);

	if (r == -ENOENT || r == -ENOTDIR)
		return fail_inside(path, mount->mount_point, ", and is no rank's folder", err);
	if (r < 0)
		return wload_fail(err, -r, "%s", why.text);
	r = ranks_parse(json, strlen(json), &mount->ranks, err);
	if (r < 0)
		return r;
	if (!mount->ranks.of_rank || mount->ranks.rank != rank)
		return fail_inside(path, mount->mount_point, ", and is no rank's folder", err);
	return 0;
}

static void close_mount(struct wload_mount **mount)
{
	wload_mount_close(*mount);
}

int wload_mount_open(const char *path, struct wload_mount **ret_mount, struct wload_error *err)
{
	struct wload_mount *mount CLEANUP(close_mount) = calloc(1, sizeof(*mount));
	uint32_t rank = 0;
	int r;

	if (!mount)
		return wload_fail(err, ENOMEM, "out of memory");
	mount->root_fd = open(path, O_PATH | O_CLOEXEC);
	if (mount->root_fd < 0) {
		struct text mountinfo CLEANUP(text_free) = {0};
		int code = errno;

		r = read_mountinfo(&mountinfo, err);
		return r < 0 ? r : fail_stat(path, path, mountinfo.s, code, err);
	}
	r = descriptor_path(mount->root_fd, &mount->root);
	if (r < 0)
		return wload_fail(err, -r, "cannot resolve '%s': %s", path, strerror(-r));
	r = check_place(path, mount->root_fd, mount->root, &mount->mount_point, &rank, err);
	if (r > 0)
		r = check_rank(mount, path, rank, err);
	if (r < 0)
		return r;
	*ret_mount = TAKE_PTR(mount);
	return 0;
}

bool wload_mount_rank(const struct wload_mount *mount, uint32_t *ret_rank, uint32_t *ret_ranks)
{
	if (!mount->ranks.of_rank)
		return false;
	*ret_rank = mount->ranks.rank;
	*ret_ranks = mount->ranks.ranks;
	return true;
}

bool wload_mount_slice(const struct wload_mount *mount, struct wload_mount_slice *ret)
{
	const struct ranks *told = &mount->ranks;
	struct wload_mount_slice slice = {
		.tp = told->tp, .ep = told->ep, .rank = told->rank, .rules = told->rules};

	if (!told->of_rank || !told->tp)
		return false;
	while (slice.layout < WLOAD_LAYOUT_COUNT && told->layout &&
	       strcmp(wload_layout_name(slice.layout), told->layout) != 0)
		slice.layout++;
	*ret = slice;
	return true;
}

void wload_mount_close(struct wload_mount *mount)
{
	if (!mount)
		return;
	if (mount->root_fd >= 0)
		close(mount->root_fd);
	free(mount->mount_point);
	free(mount->root);
	ranks_free(&mount->ranks);
	free(mount);
}

static int open_control(const struct wload_mount *mount, const char *file, int flags, int *ret_fd,
			struct wload_error *err)
{
	char name[64];
	int fd;

	(void)snprintf(name, sizeof(name), "%s/%s", WLOAD_CONTROL_DIR, file);
	fd = openat(mount->root_fd, name, flags | O_CLOEXEC);
	if (fd < 0)
		return fail_file(err, mount, "open", file, errno);
	*ret_fd = fd;
	return 0;
}

/* ---- a conversation with .wload/consume
 * ---------------------------------------------------------*/

struct conversation {
	const struct wload_mount *mount;
	int fd;
	struct request request; /* not sent yet */
	uint64_t count;		/* sum of the answers so far */
	uint64_t answered;	/* requests */
	bool *changed;		/* flags for the lines that are not answered yet; or NULL */
};

static void conversation_end(struct conversation *talk)
{
	cleanup_close(&talk->fd);
	request_free(&talk->request);
}

static int write_request(int fd, const struct text *text)
{
	ssize_t n;

	/* The daemon takes a write for commands and a read for their answer, at whatever offset. */
	(void)lseek(fd, 0, SEEK_SET);
	do
		n = write(fd, text->s, text->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	(void)lseek(fd, 0, SEEK_SET);
	return (size_t)n == text->len ? 0 : -EPROTO;
}

/* Sends what was gathered and reads the answer.
 *
 * Returns 0, -EINVAL when the daemon takes a line for bad (err is left to the caller, who knows
 * what the lines meant), or another -errno with err filled. */
static int send_request(struct conversation *talk, struct wload_error *err)
{
	struct text answer CLEANUP(text_free) = {0};
	int r;

	if (talk->request.text.failed)
		return wload_fail(err, ENOMEM, "out of memory");
	if (!talk->request.lines)
		return 0;
	r = write_request(talk->fd, &talk->request.text);
	if (r == -EINVAL)
		return r;
	if (r < 0)
		return fail_file(err, talk->mount, "write to", "consume", -r);
	r = read_all(talk->fd, &answer);
	if (r == 0 &&
	    !request_count_answer(answer.s, talk->request.lines, talk->changed, &talk->count))
		r = -EPROTO;
	if (r < 0)
		return fail_file(err, talk->mount, "read the answer of", "consume", -r);
	if (talk->changed)
		talk->changed += talk->request.lines;
	talk->answered++;
	request_clear(&talk->request);
	return 0;
}

/* Gathers a line, sending what was there when it does not fit. argument may be NULL. */
static int add_line(struct conversation *talk, const char *verb, const char *argument,
		    struct wload_error *err)
{
	int r;

	if (request_add(&talk->request, verb, argument))
		return 0;
	r = send_request(talk, err);
	if (r < 0)
		return r;
	return request_add(&talk->request, verb, argument) ? 0 : -EINVAL;
}

static int talk_start(const struct wload_mount *mount, struct conversation *talk,
		      struct wload_error *err)
{
	talk->mount = mount;
	return open_control(mount, "consume", O_RDWR, &talk->fd, err);
}

/* One command, and how many tensors it changed. */
static int command(struct wload_mount *mount, const char *verb, const char *argument,
		   uint64_t *ret_count, struct wload_error *err)
{
	struct conversation talk CLEANUP(conversation_end) = {.fd = -1};
	int r = talk_start(mount, &talk, err);

	if (r == 0)
		r = add_line(&talk, verb, argument, err);
	if (r == 0)
		r = send_request(&talk, err);
	if (r == -EINVAL)
		return wload_fail(err, EINVAL, "the mount at '%s' refused '%s%s%.200s'",
				  mount->root, verb, argument ? " " : "", argument ? argument : "");
	if (r == 0 && ret_count)
		*ret_count = talk.count;
	return r;
}

static int prefix_command(struct wload_mount *mount, const char *verb, const char *prefix,
			  uint64_t *ret_count, struct wload_error *err)
{
	struct text spelled CLEANUP(text_free) = {0};

	if (!*prefix)
		return wload_fail(err, EINVAL, "the prefix is empty; it must name a module");
	request_spell_prefix(prefix, &spelled);
	if (spelled.failed)
		return wload_fail(err, ENOMEM, "out of memory");
	return command(mount, verb, spelled.s, ret_count, err);
}

int wload_mark_consumed(struct wload_mount *mount, const char *prefix, uint64_t *ret_count,
			struct wload_error *err)
{
	return prefix_command(mount, "prefix", prefix, ret_count, err);
}

/* One line a name. Returns as send_request() does. */
static int send_names(struct conversation *talk, const char *verb, const char *const *names,
		      size_t name_count, struct wload_error *err)
{
	char file[NAME_FILE_MAX + 1];
	int r = 0;

	for (size_t i = 0; r == 0 && i < name_count; i++) {
		(void)name_to_file(names[i], strlen(names[i]), "", file);
		r = add_line(talk, verb, file, err);
	}
	return r == 0 ? send_request(talk, err) : r;
}

/* A daemon that refuses the first request of `loaded` lines may not know the word, or one of the
 * names: `key` tells which. */
static int send_loaded(struct conversation *talk, struct wload_mount *mount,
		       const char *const *names, size_t name_count, struct wload_error *err)
{
	int r = -EINVAL;

	if (!atomic_load(&mount->knows_no_loaded))
		r = send_names(talk, "loaded", names, name_count, err);
	if (r != -EINVAL || talk->answered)
		return r;
	request_clear(&talk->request);
	r = send_names(talk, "key", names, name_count, err);
	if (r == 0)
		atomic_store(&mount->knows_no_loaded, true);
	return r;
}

static int mark_keys(struct wload_mount *mount, const char *const *names, size_t name_count,
		     bool loaded, bool *ret_changed, uint64_t *ret_count, struct wload_error *err)
{
	struct conversation talk CLEANUP(conversation_end) = {.fd = -1, .changed = ret_changed};
	int r = talk_start(mount, &talk, err);

	if (r == 0)
		r = loaded ? send_loaded(&talk, mount, names, name_count, err)
			   : send_names(&talk, "key", names, name_count, err);
	if (r == -EINVAL && name_count == 1)
		return wload_fail(err, EINVAL, "'%s' is no tensor of the mount at '%s'", names[0],
				  mount->root);
	if (r == -EINVAL)
		return wload_fail(
			err, EINVAL,
			"one of %zu keys, '%s' the first, is no tensor of the mount at '%s'",
			name_count, names[0], mount->root);
	if (r == 0 && ret_count)
		*ret_count = talk.count;
	return r;
}

int wload_mark_consumed_keys(struct wload_mount *mount, const char *const *names, size_t name_count,
			     uint64_t *ret_count, struct wload_error *err)
{
	return mark_keys(mount, names, name_count, false, NULL, ret_count, err);
}

int wload_mark_consumed_each(struct wload_mount *mount, const char *const *names, size_t name_count,
			     bool *ret_changed, struct wload_error *err)
{
	return mark_keys(mount, names, name_count, false, ret_changed, NULL, err);
}

int wload_mark_loaded_each(struct wload_mount *mount, const char *const *names, size_t name_count,
			   bool *ret_changed, struct wload_error *err)
{
	return mark_keys(mount, names, name_count, true, ret_changed, NULL, err);
}

int wload_mount_may_consume(struct wload_mount *mount, struct wload_error *err)
{
	int fd CLEANUP_FD = -1;

	return open_control(mount, "consume", O_RDWR, &fd, err);
}

int wload_mark_consumed_all(struct wload_mount *mount, uint64_t *ret_count, struct wload_error *err)
{
	return command(mount, "all", NULL, ret_count, err);
}

int wload_mount_restore(struct wload_mount *mount, const char *prefix, uint64_t *ret_count,
			struct wload_error *err)
{
	if (prefix)
		return prefix_command(mount, "restore", prefix, ret_count, err);
	return command(mount, "restore", NULL, ret_count, err);
}

static int read_control(struct wload_mount *mount, const char *file, char **ret_text,
			struct wload_error *err)
{
	struct text text CLEANUP(text_free) = {0};
	int fd CLEANUP_FD = -1;
	int r = open_control(mount, file, O_RDONLY, &fd, err);

	if (r < 0)
		return r;
	r = read_all(fd, &text);
	if (r < 0)
		return fail_file(err, mount, "read", file, -r);
	*ret_text = TAKE_PTR(text.s);
	return 0;
}

int wload_mount_stats(struct wload_mount *mount, char **ret_json, struct wload_error *err)
{
	return read_control(mount, "stats.json", ret_json, err);
}

int wload_mount_layers(struct wload_mount *mount, char **ret_json, struct wload_error *err)
{
	return read_control(mount, "layers.json", ret_json, err);
}

/* How many ranks the mount has. */
static int count_ranks(struct wload_mount *mount, uint32_t *ret_ranks, struct wload_error *err)
{
	char *json CLEANUP_FREE = NULL;
	struct ranks ranks CLEANUP(ranks_free) = {0};
	int r = wload_mount_stats(mount, &json, err);

	if (r == 0)
		r = ranks_parse(json, strlen(json), &ranks, err);
	*ret_ranks = ranks.ranks;
	return r;
}

static int check_release(struct wload_mount *mount, uint32_t rank, struct wload_error *err)
{
	uint32_t ranks;
	int r;

	if (mount->ranks.of_rank)
		return wload_fail(err, EINVAL,
				  "'%s' is the folder of rank %" PRIu32
				  " of the mount at '%s'; name its root",
				  mount->root, mount->ranks.rank, mount->mount_point);
	r = count_ranks(mount, &ranks, err);
	if (r < 0)
		return r;
	if (ranks == 0)
		return wload_fail(err, EINVAL, "the mount at '%s' has no ranks (-o ranks=N)",
				  mount->root);
	if (rank >= ranks)
		return wload_fail(err, EINVAL,
				  "rank %" PRIu32 ": the mount at '%s' has ranks 0 to %" PRIu32,
				  rank, mount->root, ranks - 1);
	return 0;
}

int wload_mount_release(struct wload_mount *mount, uint32_t rank, uint64_t *ret_count,
			struct wload_error *err)
{
	struct wload_mount *own CLEANUP(close_mount) = NULL;
	char *path CLEANUP_FREE = NULL;
	int r = check_release(mount, rank, err);

	if (r < 0)
		return r;
	/* by the descriptor: the path may lead elsewhere by now */
	if (asprintf(&path, "/proc/self/fd/%d/ranks/%" PRIu32, mount->root_fd, rank) < 0) {
		path = NULL;
		return wload_fail(err, ENOMEM, "out of memory");
	}
	r = wload_mount_open(path, &own, err);
	return r < 0 ? r : wload_mark_consumed_all(own, ret_count, err);
}
