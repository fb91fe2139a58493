/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the checkpoint's own files (ownfile.h). A file keeps its descriptor also under passthrough:
 * readahead() on it, and readers of the FUSE mapping, still send READs. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/ownfile.h"
#include "loader/base/cleanup.h"

/* Registers a file for passthrough. Returns its id, 0 where there is none, or -errno where the
 * mount was to have nothing else. Takes own_lock. */
static int backing_open(struct wloadfs *fs, int fd)
{
	int id = fs->wire.passthrough ? wire_backing_open(&fs->wire, fd) : -EOPNOTSUPP;

	if (fs->wire.passthrough) {
		LOCK_SCOPE(&fs->own_lock);

		fs->passthrough_tried = true;
		if (id < 0)
			fs->passthrough_error = -id;
	}
	if (id < 0)
		return fs->shards_mode == SHARDS_PASSTHROUGH ? id : 0;
	return id;
}

static void close_own(struct wloadfs *fs, const struct own_open *open)
{
	if (open->backing_id)
		wire_backing_close(&fs->wire, open->backing_id);
	if (open->fd >= 0)
		close(open->fd);
}

/* Opens the file anew, outside of the lock. */
static int open_anew(struct wloadfs *fs, uint32_t index, struct own_open *ret, struct stat *ret_st)
{
	int fd = own_open_file(&fs->own, fs->ckpt, index), id;

	if (fd < 0)
		return fd;
	if (fstat(fd, ret_st) < 0) {
		id = -errno;
	} else if (!S_ISREG(ret_st->st_mode)) {
		id = -ESTALE;
	} else {
		id = backing_open(fs, fd);
	}
	if (id < 0) {
		close(fd);
		return id;
	}
	*ret = (struct own_open){
		.backing_id = id, .fd = fd, .dev = ret_st->st_dev, .ino = ret_st->st_ino};
	return 0;
}

/* Adds one handle to the file, sharing what other handles have open.
 *
 * Returns 0, or -ESTALE when those have a file open that is another's place by now. */
static int add_handle(struct wloadfs *fs, uint32_t index, int *ret_backing_id)
{
	struct own_open *open = &fs->own_open[index], anew = {.fd = -1};
	struct stat st;
	int r = open_anew(fs, index, &anew, &st);

	if (r < 0)
		return r;
	pthread_mutex_lock(&fs->own_lock);
	if (open->opens == 0) {
		*open = anew;
		anew = (struct own_open){.fd = -1};
	} else if (open->dev != st.st_dev || open->ino != st.st_ino) {
		r = -ESTALE;
	}
	if (r == 0)
		open->opens++;
	*ret_backing_id = open->backing_id;
	pthread_mutex_unlock(&fs->own_lock);
	close_own(fs, &anew);
	return r;
}

void ownfile_open(struct wloadfs *fs, fuse_req_t req, uint32_t index, struct fuse_file_info *fi)
{
	uint32_t shard = fs->own.entry[index].shard;
	int r = 0, backing_id = 0;

	if (shard != OWN_NO_SHARD)
		r = wload_checkpoint_check(fs->ckpt, shard, NULL);
	if (r == 0)
		r = add_handle(fs, index, &backing_id);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	atomic_fetch_add(backing_id ? &fs->passthrough_opens : &fs->served_opens, 1);
	/* Without passthrough: direct where mmap works on that, so that nothing is cached twice.
	 * Only a shard's pages may outlive its handles: small files can be edited beside the mount.
	 */
	fi->direct_io = fs->wire.direct_mmap;
	fi->keep_cache = !fi->direct_io && shard != OWN_NO_SHARD;
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
	close_own(fs, &last);
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

int ownfile_passthrough(struct wloadfs *fs)
{
	bool tried;

	pthread_mutex_lock(&fs->own_lock);
	tried = fs->passthrough_tried;
	pthread_mutex_unlock(&fs->own_lock);
	if (!tried && fs->wire.passthrough && wload_checkpoint_shard_count(fs->ckpt)) {
		int id = backing_open(fs, wload_checkpoint_shard(fs->ckpt, 0)->fd);

		if (id > 0)
			wire_backing_close(&fs->wire, id);
	}
	LOCK_SCOPE(&fs->own_lock);

	return fs->passthrough_error;
}
