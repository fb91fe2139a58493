/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_OPS_H
#define WLOADFS_OPS_H

/* The FUSE operations: each decodes, makes one call, and gives exactly one reply. Names and
 * attributes are in ops.c with the table, open files in ops_file.c. */

#include "fs/fs.h"
#include "fs/node.h"

extern const struct fuse_lowlevel_ops ops_table;

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
/* Reads and answers a READ of one of the checkpoint's own files or of a tensor's. Any thread. */
void ops_answer_read(struct wloadfs *fs, fuse_req_t req, struct node node, uint64_t offset,
		     size_t size);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	      struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

static inline struct wloadfs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

#endif
