/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_WIRE_H
#define WLOADFS_WIRE_H

/* What is agreed with the kernel when a mount begins, and what its FUSE protocol has that not every
 * libfuse does: passthrough, mmap on direct I/O, the epoch notification.
 *
 * wire.c has what all releases share. Two ways to passthrough and mmap are beside it, of which the
 * Makefile takes the one for the libfuse that it finds: wire_314.c (3.13 to 3.16, without an API)
 * and wire_317.c (3.17 and later, with one).
 *
 * Protocol: Linux include/uapi/linux/fuse.h; Documentation/filesystems/fuse/fuse-passthrough.rst.
 */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/features.h"

struct wire {
	struct features *features; /* borrowed; what is unwanted is not asked for */
	struct fuse_session *session;
	uint32_t kernel_minor; /* of protocol version 7; 0 before INIT */

	/* of wire_314.c: the INIT request while it is under way */
	uint64_t init_unique;
	uint32_t offered2; /* its flags2 */
};

/* Attaches to a mounted session, before its loop. The session's userdata must be the wire's owner,
 * for wire_of() below. Returns 0 or -errno. */
int wire_attach(struct wire *wire, struct fuse_session *session);

/* Finds the wire in the session's userdata; provided by the user of this module. */
struct wire *wire_of(void *userdata);

/* Agrees on everything with the kernel; libfuse's init calls it. */
void wire_negotiate(struct wire *wire, struct fuse_conn_info *conn);

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

/* ---- between wire.c and the ways ---- */

/* A shard on overlayfs is one level deep itself, and FUSE's own is on top of that. */
#define WIRE_STACK_DEPTH 2u

/* A feature that is agreed on by bits of conn->capable and conn->want. */
struct wire_capability {
	enum feature feature;
	unsigned int bits; /* FUSE_CAP_… */
};

/* Asks for each that is wanted and offered, declines the others. `want`, though deprecated for
 * `want_ext`, is what every release has, and all of these bits fit in it. */
void wire_ask(struct wire *wire, struct fuse_conn_info *conn, const struct wire_capability *list,
	      size_t count);

/* The way's part of wire_negotiate(): passthrough and mmap on direct I/O. */
void wire_negotiate_way(struct wire *wire, struct fuse_conn_info *conn);

#endif
