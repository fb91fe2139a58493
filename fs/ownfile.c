/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the checkpoint's own files (ownfile.h). A file keeps its descriptor also under passthrough:
 * readahead() on it, and readers of the FUSE mapping, still send READs.
 *
 * The kernel wants all opens of one inode to agree: the same backing file, or none. So the first
 * open decides, and registers it; those that come while the file is open share what it got, also
 * those that come while it is still at it. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/budget.h"
#include "fs/ownfile.h"
#include "fs/peak.h"
#include "fs/trace.h"
#include "loader/base/cleanup.h"

/* Registers a file for passthrough. Returns its id, 0 where there is none, or -errno where the
 * mount was to have nothing else.
 *
 * Without the right to it no file is tried again; any other refusal is that file's own, and of
 * shards the first is remembered. */
static int backing_open(struct wloadfs *fs, int fd, bool is_shard)
{
	int reason = feature_reason(&fs->features, FEATURE_PASSTHROUGH);
	int id = reason > 0 ? -reason : -EOPNOTSUPP;

	if (reason == FEATURE_IN_USE || (reason > 0 && reason != EPERM)) {
		id = wire_backing_open(&fs->wire, fd);
		if (is_shard)
			atomic_store(&fs->passthrough_tried, true);
		if (id < 0 && (is_shard || id == -EPERM))
			feature_off(&fs->features, FEATURE_PASSTHROUGH, -id);
	}
	if (id < 0)
		return fs->shards_mode == SHARDS_PASSTHROUGH ? id : 0;
	return id;
}

/* The first open of a file: what it is read from, until its last handle goes. */
static int open_first(struct wloadfs *fs, uint32_t index, struct own_open *ret)
{
	int fd = own_open_file(&fs->own, fs->ckpt, index), id;
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		id = -errno;
	else if (!S_ISREG(st.st_mode))
		id = -ESTALE;
	else
		id = backing_open(fs, fd, fs->own.entry[index].shard != OWN_NO_SHARD);
	if (id < 0) {
		close(fd);
		return id;
	}
	if (id > 0)
		atomic_fetch_add(&fs->registrations, 1);
	*ret = (struct own_open){.backing_id = id, .fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	return 0;
}

/* Is the file that handles have open still the one of that name? A shard is, whatever its name
 * leads to. Lock held. */
static bool is_same(const struct own_open *open, const struct stat *now)
{
	return !now || (open->dev == now->st_dev && open->ino == now->st_ino);
}

/* Adds one handle to the file, sharing what other handles have open.
 *
 * now  of the file that has the name; NULL for a shard
 *
 * Returns 0, or -ESTALE when others have a file open that another one replaced. */
static int add_handle(struct wloadfs *fs, uint32_t index, const struct stat *now,
		      int *ret_backing_id)
{
	struct own_open *open = &fs->own_open[index], first;
	int r = 0;

	pthread_mutex_lock(&fs->own_lock);
	while (open->opening)
		pthread_cond_wait(&fs->own_opened, &fs->own_lock);
	if (open->opens == 0) {
		open->opening = true;
		pthread_mutex_unlock(&fs->own_lock);
		r = open_first(fs, index, &first);
		pthread_mutex_lock(&fs->own_lock);
		open->opening = false;
		if (r == 0)
			*open = first;
		pthread_cond_broadcast(&fs->own_opened);
	} else if (!is_same(open, now)) {
		r = -ESTALE;
	}
	if (r == 0) {
		open->opens++;
		*ret_backing_id = open->backing_id;
	}
	pthread_mutex_unlock(&fs->own_lock);
	return r;
}

void ownfile_open(struct wloadfs *fs, fuse_req_t req, uint32_t index, struct fuse_file_info *fi)
{
	uint32_t shard = fs->own.entry[index].shard;
	bool is_shard = shard != OWN_NO_SHARD;
	struct stat now;
	int backing_id = 0;
	int r = is_shard ? wload_checkpoint_check(fs->ckpt, shard, NULL)
			 : own_stat(&fs->own, fs->ckpt, index, &now);

	if (r == 0)
		r = add_handle(fs, index, is_shard ? NULL : &now, &backing_id);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	trace_open(fs, (struct node){.kind = NODE_OWN, .index = index}, fuse_req_ctx(req)->pid);
	peak_touch(fs);
	atomic_fetch_add(backing_id ? &fs->passthrough_opens : &fs->served_opens, 1);
	if (!backing_id)
		served_opened(fs, index);
	/* Without passthrough: direct where mmap works on that, so that nothing is cached twice;
	 * with a budget cached, see budget.h. Only a shard's pages may outlive its handles: small
	 * files can be edited beside the mount.
	 */
	if (fs->budget && is_shard)
		budget_open(fs);
	fi->direct_io = feature_on(&fs->features, FEATURE_DIRECT_MMAP) && !(fs->budget && is_shard);
	fi->keep_cache = !fi->direct_io && is_shard;
	fi->noflush = 1;
	if (wire_reply_open(req, fi, backing_id) == -ENOENT)
		ownfile_release(fs, index); /* the opener was interrupted and is gone */
}

void ownfile_release(struct wloadfs *fs, uint32_t index)
{
	struct own_open *open = &fs->own_open[index], last = {.fd = -1};

	pthread_mutex_lock(&fs->own_lock);
	if (--open->opens == 0) {
		last = *open;
		*open = (struct own_open){.fd = -1};
	}
	pthread_mutex_unlock(&fs->own_lock);
	if (last.backing_id)
		wire_backing_close(&fs->wire, last.backing_id);
	if (last.fd >= 0)
		close(last.fd);
}

void ownfile_release_all(struct wloadfs *fs)
{
	for (uint32_t i = 0; fs->own_open && i < fs->own.count; i++)
		if (fs->own_open[i].opens && fs->own_open[i].fd >= 0)
			close(fs->own_open[i].fd); /* backing ids went with the session */
}

int ownfile_fd(struct wloadfs *fs, uint32_t index)
{
	LOCK_SCOPE(&fs->own_lock);

	return fs->own_open[index].fd;
}

bool ownfile_any_passthrough(struct wloadfs *fs)
{
	LOCK_SCOPE(&fs->own_lock);

	for (uint32_t i = 0; i < fs->own.count; i++)
		if (fs->own_open[i].opens && fs->own_open[i].backing_id > 0)
			return true;
	return false;
}

void ownfile_decide(struct wloadfs *fs)
{
	int id;

	if (atomic_load(&fs->passthrough_tried) || !wload_checkpoint_shard_count(fs->ckpt))
		return;
	id = backing_open(fs, wload_checkpoint_shard(fs->ckpt, 0)->fd, true);
	if (id > 0)
		wire_backing_close(&fs->wire, id);
}
