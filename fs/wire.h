/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_WIRE_H
#define WLOADFS_WIRE_H

/* What the kernel's FUSE protocol has and this libfuse does not: passthrough, mmap on direct I/O,
 * the epoch notification. One file for each way to reach it; wire_314.c for libfuse 3.13 to 3.16.
 *
 * Protocol: Linux include/uapi/linux/fuse.h; Documentation/filesystems/fuse/fuse-passthrough.rst.
 */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

/* What to ask the kernel for, and, once it answered, what it granted. */
struct wire {
	bool want_passthrough;
	bool want_direct_mmap;
	bool passthrough;      /* granted: backing files may be tried */
	bool direct_mmap;      /* granted: MAP_SHARED works on direct I/O files */
	bool parallel_dirops;  /* offered */
	uint32_t kernel_minor; /* of protocol version 7; 0 before INIT */
	struct fuse_session *session;
	uint64_t init_unique; /* of the INIT request while it is under way */
};

/* Attaches to a mounted session, before its loop. The session's userdata must be the wire's owner,
 * for wire_of() below. Returns 0 or -errno. */
int wire_attach(struct wire *wire, struct fuse_session *session);

/* Finds the wire in the session's userdata; provided by the user of this module. */
struct wire *wire_of(void *userdata);

/* Registers a file to be read by the kernel itself.
 *
 * Returns an id > 0 for wire_reply_open(), or -EPERM without CAP_SYS_ADMIN, -ELOOP when the file's
 * filesystem is stacked too deep, or what the kernel said. The caller may close fd. */
int wire_backing_open(const struct wire *wire, int fd);
void wire_backing_close(const struct wire *wire, int backing_id);

/* fuse_reply_open(), with the file read from a backing file when backing_id > 0. */
int wire_reply_open(fuse_req_t req, const struct fuse_file_info *fi, int backing_id);

/* Makes the kernel look up every name again (FUSE_NOTIFY_INC_EPOCH, Linux 6.16, takes no folder's
 * lock). Returns 0, or -EINVAL where the kernel does not have it. */
int wire_increment_epoch(const struct wire *wire);

#endif
