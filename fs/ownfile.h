/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_OWNFILE_H
#define WLOADFS_OWNFILE_H

/* Opening the checkpoint's own files: by passthrough, where the kernel reads them itself at native
 * speed, or served by us. All opens of one inode must agree and share one backing id (the kernel
 * says EIO otherwise), so the first open decides until the last is released. */

#include "fs/fs.h"

/* Answers an OPEN. */
void ownfile_open(struct wloadfs *fs, fuse_req_t req, uint32_t index, struct fuse_file_info *fi);
void ownfile_release(struct wloadfs *fs, uint32_t index);

/* Closes what is still open when the session has ended. */
void ownfile_release_all(struct wloadfs *fs);

/* Finds out whether the kernel takes shards as backing files (FEATURE_PASSTHROUGH), by trying one,
 * where none was opened yet. */
void ownfile_decide(struct wloadfs *fs);

/* Is one of the files open that the kernel reads itself? */
bool ownfile_any_passthrough(struct wloadfs *fs);

/* The descriptor to serve a READ from; valid while the file is open. */
int ownfile_fd(struct wloadfs *fs, uint32_t index);

#endif
