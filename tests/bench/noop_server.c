/* SPDX-License-Identifier: Apache-2.0 */
/* A FUSE server that removes nothing: what unlink() and rmdir() cost before any work is done.
 *
 *   noop_server MOUNTPOINT <NAMES
 *
 * The least that a mount like wloadfs must do for find -delete or rm -r, and so the zero that it is
 * measured from: the same names in the same folders (tensors/NAME and modules/A/B/…, each tensor
 * one inode of two names), the same settings of the session (fs/ops.c's init, fs/session.c's
 * workers), the same timeouts. Removing marks a name as gone and nothing else; there is no lock,
 * for each name is removed once. Stays in the foreground; SIGTERM unmounts. */

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE     2
#define TIMEOUT	       86400.0
#define MAX_BACKGROUND 64
#define THREADS_MIN    4u
#define THREADS_MAX    64u
#define TENSOR_BIT     ((fuse_ino_t)1 << 32)
#define HASH_SLOTS     ((size_t)1 << 21)
#define DOTS	       2 /* cookies 1 and 2 are behind "." and ".." */

/* A name in a folder. Folder i has the inode i + 1, so that the root is FUSE's 1. */
struct entry {
	const char *name;
	size_t len;
	uint32_t folder;
	fuse_ino_t ino;
};

struct folder {
	uint32_t *entries;
	uint32_t count, room;
	atomic_bool gone;
};

struct server {
	struct entry *entries;
	size_t entry_count, entry_room;
	struct folder *folders;
	size_t folder_count, folder_room;
	atomic_bool *tensor_gone;
	size_t tensor_count;
	uint32_t *slots; /* entry + 1, by folder and name */
};

static void *must(void *p)
{
	if (p)
		return p;
	(void)fprintf(stderr, "noop_server: out of memory\n");
	exit(EXIT_FAILURE);
}

/* ---- the tree ---- */

static uint32_t *slot_of(const struct server *s, uint32_t folder, const char *name, size_t len)
{
	uint64_t hash = 0xCBF29CE484222325u ^ folder;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3u;
	for (size_t at = hash ^ hash >> 32;; at++) {
		uint32_t *slot = &s->slots[at % HASH_SLOTS];
		const struct entry *entry;

		if (!*slot)
			return slot;
		entry = &s->entries[*slot - 1];
		if (entry->folder == folder && entry->len == len &&
		    memcmp(entry->name, name, len) == 0)
			return slot;
	}
}

static void add_entry(struct server *s, uint32_t folder, const char *name, size_t len,
		      fuse_ino_t ino)
{
	struct folder *dir = &s->folders[folder];

	if (s->entry_count == s->entry_room) {
		s->entry_room = s->entry_room ? s->entry_room * 2 : 1024;
		s->entries = must(reallocarray(s->entries, s->entry_room, sizeof(struct entry)));
	}
	if (dir->count == dir->room) {
		dir->room = dir->room ? dir->room * 2 : 4;
		dir->entries = must(reallocarray(dir->entries, dir->room, sizeof(uint32_t)));
	}
	s->entries[s->entry_count] = (struct entry){name, len, folder, ino};
	dir->entries[dir->count++] = (uint32_t)s->entry_count;
	*slot_of(s, folder, name, len) = (uint32_t)++s->entry_count;
}

static uint32_t add_folder(struct server *s, uint32_t parent, const char *name, size_t len)
{
	uint32_t *slot = slot_of(s, parent, name, len);
	uint32_t folder = (uint32_t)s->folder_count;

	if (*slot)
		return (uint32_t)(s->entries[*slot - 1].ino - 1);
	if (s->folder_count == s->folder_room) {
		s->folder_room *= 2;
		s->folders = must(reallocarray(s->folders, s->folder_room, sizeof(struct folder)));
	}
	memset(&s->folders[s->folder_count++], 0, sizeof(struct folder));
	add_entry(s, parent, name, len, (fuse_ino_t)folder + 1);
	return folder;
}

static void add_tensor(struct server *s, uint32_t tensors, uint32_t modules, const char *name)
{
	fuse_ino_t ino = TENSOR_BIT | s->tensor_count++;
	uint32_t folder = modules;
	const char *part = name, *dot;

	add_entry(s, tensors, name, strlen(name), ino);
	while ((dot = strchr(part, '.'))) {
		folder = add_folder(s, folder, part, (size_t)(dot - part));
		part = dot + 1;
	}
	add_entry(s, folder, part, strlen(part), ino);
}

static void build(struct server *s, FILE *names)
{
	uint32_t tensors, modules;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	s->slots = must(calloc(HASH_SLOTS, sizeof(uint32_t)));
	s->folder_room = 1024;
	s->folders = must(calloc(s->folder_room, sizeof(struct folder)));
	s->folder_count = 1;
	tensors = add_folder(s, 0, "tensors", strlen("tensors"));
	modules = add_folder(s, 0, "modules", strlen("modules"));
	while ((len = getline(&line, &size, names)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = 0;
		add_tensor(s, tensors, modules, must(strdup(line)));
	}
	free(line);
	s->tensor_gone = must(calloc(s->tensor_count + 1, sizeof(atomic_bool)));
}

static atomic_bool *gone_flag(struct server *s, fuse_ino_t ino)
{
	return ino & TENSOR_BIT ? &s->tensor_gone[ino & ~TENSOR_BIT] : &s->folders[ino - 1].gone;
}

static struct stat attributes(fuse_ino_t ino)
{
	bool tensor = ino & TENSOR_BIT;
	struct stat st = {
		.st_ino = ino,
		.st_mode = tensor ? S_IFREG | 0644 : S_IFDIR | 0755,
		.st_nlink = 2,
		.st_size = tensor ? 4096 : 0,
		.st_blocks = 8,
		.st_uid = getuid(),
		.st_gid = getgid(),
	};

	return st;
}

static const struct entry *find(struct server *s, fuse_ino_t parent, const char *name)
{
	uint32_t slot = *slot_of(s, (uint32_t)(parent - 1), name, strlen(name));
	const struct entry *entry = slot ? &s->entries[slot - 1] : NULL;

	return entry && !atomic_load(gone_flag(s, entry->ino)) ? entry : NULL;
}

static struct fuse_entry_param shown(fuse_ino_t ino)
{
	struct fuse_entry_param param = {
		.ino = ino, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};

	param.attr = attributes(ino);
	return param;
}

/* ---- requests ---- */

static struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned int)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
				      FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
				      FUSE_CAP_ATOMIC_O_TRUNC);
	conn->want |= conn->capable & FUSE_CAP_EXPLICIT_INVAL_DATA;
	conn->max_background = MAX_BACKGROUND;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct entry *entry = find(server_of(req), parent, name);
	struct fuse_entry_param param;

	if (!entry) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	param = shown(entry->ino);
	fuse_reply_entry(req, &param);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	(void)ino;
	(void)count;
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	(void)count;
	(void)forgets;
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = attributes(ino);

	(void)fi;
	if (atomic_load(gone_flag(server_of(req), ino)))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &st, TIMEOUT);
}

static size_t add_shown(fuse_req_t req, char *buf, size_t room, const char *name, fuse_ino_t ino,
			off_t next, bool plus)
{
	struct fuse_entry_param param = {.attr.st_ino = ino,
					 .attr.st_mode = ino & TENSOR_BIT ? S_IFREG : S_IFDIR};

	if (!plus)
		return fuse_add_direntry(req, buf, room, name, &param.attr, next);
	/* A look-up of "." and ".." must not be counted. */
	if (next > DOTS)
		param = shown(ino);
	return fuse_add_direntry_plus(req, buf, room, name, &param, next);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct server *s = server_of(req);
	const struct folder *folder = &s->folders[ino - 1];
	char *buf = must(malloc(size));
	char name[NAME_MAX + 1];
	size_t used = 0, n;

	for (size_t at = (size_t)off; at < folder->count + DOTS; at++) {
		fuse_ino_t shown_ino = ino;

		if (at < DOTS) {
			strcpy(name, at == 0 ? "." : "..");
		} else {
			const struct entry *entry = &s->entries[folder->entries[at - DOTS]];

			if (atomic_load(gone_flag(s, entry->ino)) || entry->len > NAME_MAX)
				continue;
			/* A folder's name ends inside a tensor's. */
			memcpy(name, entry->name, entry->len);
			name[entry->len] = 0;
			shown_ino = entry->ino;
		}
		n = add_shown(req, buf + used, size - used, name, shown_ino, (off_t)at + 1, plus);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = server_of(req);
	const struct entry *entry = find(s, parent, name);

	if (entry)
		atomic_store(gone_flag(s, entry->ino), true);
	fuse_reply_err(req, entry ? 0 : ENOENT);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.unlink = op_remove,
	.rmdir = op_remove,
};

/* ---- the session ---- */

static unsigned int worker_count(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = cpus > 0 ? (unsigned int)cpus * 2 : THREADS_MIN;

	return n < THREADS_MIN ? THREADS_MIN : n > THREADS_MAX ? THREADS_MAX : n;
}

static int serve(struct fuse_session *session)
{
	struct fuse_loop_config *config = must(fuse_loop_cfg_create());
	int r;

	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, worker_count());
	r = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	char *options[] = {argv[0], "-o", "fsname=noop_server,default_permissions"};
	struct fuse_args args = FUSE_ARGS_INIT(3, options);
	static struct server server;
	struct fuse_session *session;
	int r = EXIT_FAILURE;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: noop_server MOUNTPOINT <NAMES\n");
		return EXIT_USAGE;
	}
	build(&server, stdin);
	session = fuse_session_new(&args, &ops, sizeof(ops), &server);
	if (!session)
		return EXIT_FAILURE;
	if (fuse_set_signal_handlers(session) == 0 && fuse_session_mount(session, argv[1]) == 0) {
		r = serve(session);
		fuse_session_unmount(session);
	}
	fuse_remove_signal_handlers(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return r;
}
