/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the checkpoint's own files (ownfile.h). A file keeps its descriptor also under passthrough:
 * readahead() on it, and readers of the FUSE mapping, still send READs. */

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fs/ownfile.h"
#include "loader/base/cleanup.h"

/* Opens the file for its first handle. own_lock held. */
static int first_open(struct wloadfs *fs, uint32_t index, struct own_open *open)
{
	int id = 0, fd = own_open_file(&fs->own, fs->ckpt, index);

	if (fd < 0)
		return fd;
	if (fs->wire.passthrough) {
		id = wire_backing_open(&fs->wire, fd);
		fs->passthrough_error = id < 0 ? -id : 0;
	}
	if (id <= 0 && fs->shards_mode == SHARDS_PASSTHROUGH) {
		close(fd);
		return id < 0 ? id : -EOPNOTSUPP;
	}
	open->fd = fd;
	open->backing_id = id > 0 ? id : 0;
	return 0;
}

void ownfile_open(struct wloadfs *fs, fuse_req_t req, uint32_t index, struct fuse_file_info *fi)
{
	struct own_open *open = &fs->own_open[index];
	int r = 0, backing_id;

	pthread_mutex_lock(&fs->own_lock);
	if (open->opens == 0)
		r = first_open(fs, index, open);
	if (r == 0)
		open->opens++;
	backing_id = open->backing_id;
	pthread_mutex_unlock(&fs->own_lock);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	atomic_fetch_add(backing_id ? &fs->passthrough_opens : &fs->served_opens, 1);
	/* Without passthrough: direct where mmap works on that, so that nothing is cached twice. */
	fi->direct_io = fs->wire.direct_mmap;
	fi->keep_cache = !fi->direct_io;
	fi->noflush = 1;
	if (wire_reply_open(req, fi, backing_id) == -ENOENT)
		ownfile_release(fs, index); /* the opener was interrupted and is gone */
}

void ownfile_release(struct wloadfs *fs, uint32_t index)
{
	LOCK_SCOPE(&fs->own_lock);
	struct own_open *open = &fs->own_open[index];

	if (--open->opens > 0)
		return;
	if (open->backing_id)
		wire_backing_close(&fs->wire, open->backing_id);
	close(open->fd);
	*open = (struct own_open){.fd = -1};
}

int ownfile_fd(struct wloadfs *fs, uint32_t index)
{
	LOCK_SCOPE(&fs->own_lock);

	return fs->own_open[index].fd;
}
