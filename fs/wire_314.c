/* SPDX-License-Identifier: Apache-2.0 */
/* Passthrough for libfuse 3.13 to 3.16, which packages of Debian 12 and Ubuntu 24.04 are.
 *
 * These releases build every reply themselves and know nothing of passthrough, but since 3.13 they
 * write through fuse_session_custom_io(). So libfuse does its work, and two of its replies are
 * amended on their way out:
 *
 *   INIT   the two capabilities are added to flags and flags2, max_stack_depth is set; and parallel
 *          look-ups in one folder, which libfuse 3.14 means to ask for and does not
 *   OPEN   FOPEN_PASSTHROUGH and the backing id are added; the reply is known by a thread-local
 * that wire_reply_open() sets, because libfuse writes on the thread that replies
 *
 * Layouts and numbers: Linux include/uapi/linux/fuse.h, protocol 7.40. */

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/wire.h"

#define OPCODE_INIT	     26u
#define INIT_PARALLEL_DIROPS (1u << 18)	       /* in flags: folders need no lock of the kernel's */
#define INIT_EXT	     (1u << 30)	       /* in flags: flags2 counts */
#define INIT2_DIRECT_IO_MMAP (1u << (36 - 32)) /* in flags2 */
#define INIT2_PASSTHROUGH    (1u << (37 - 32))
#define OPEN_DIRECT_IO	     (1u << 0)
#define OPEN_KEEP_CACHE	     (1u << 1)
#define OPEN_PASSTHROUGH     (1u << 7)
#define MINOR_OF_PASSTHROUGH 40u

struct wire_in_header {
	uint32_t len, opcode;
	uint64_t unique, nodeid;
	uint32_t uid, gid, pid;
	uint16_t extensions, padding;
};

struct wire_init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct wire_out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

struct wire_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_granularity;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
	uint16_t request_timeout, unused[11];
};

struct wire_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};

/* Set around fuse_reply_open(): the reply that this thread writes next is to carry it. */
static __thread int pending_backing;

/* Keeps the kernel's offer out of an INIT request, for wire_negotiate_way(). */
static void see_init(struct wire *wire, const char *request, size_t len)
{
	struct wire_in_header header;
	struct wire_init_in init = {0};

	memcpy(&header, request, sizeof(header));
	if (header.opcode != OPCODE_INIT)
		return;
	if (len >= sizeof(header) + sizeof(init))
		memcpy(&init, request + sizeof(header), sizeof(init));
	wire->init_unique = header.unique;
	wire->offered2 = init.flags & INIT_EXT ? init.flags2 : 0;
}

static ssize_t wire_read(int fd, void *buf, size_t len, void *userdata)
{
	struct wire *wire = wire_of(userdata);
	ssize_t n = read(fd, buf, len);

	if (n >= (ssize_t)sizeof(struct wire_in_header) && wire->kernel_minor == 0)
		see_init(wire, buf, (size_t)n);
	return n;
}

void wire_negotiate_way(struct wire *wire, struct fuse_conn_info *conn)
{
	(void)conn;
	if (!(wire->offered2 & INIT2_PASSTHROUGH))
		feature_off(wire->features, FEATURE_PASSTHROUGH, FEATURE_MISSING);
	if (!(wire->offered2 & INIT2_DIRECT_IO_MMAP))
		feature_off(wire->features, FEATURE_DIRECT_MMAP, FEATURE_MISSING);
}

static void amend_init(const struct wire *wire, const struct iovec *from, struct wire_init_out *out)
{
	bool passthrough = feature_on(wire->features, FEATURE_PASSTHROUGH);
	bool direct_mmap = feature_on(wire->features, FEATURE_DIRECT_MMAP);

	memset(out, 0, sizeof(*out));
	memcpy(out, from->iov_base, from->iov_len < sizeof(*out) ? from->iov_len : sizeof(*out));
	if (feature_on(wire->features, FEATURE_PARALLEL_DIROPS))
		out->flags |= INIT_PARALLEL_DIROPS;
	if (!passthrough && !direct_mmap)
		return;
	out->flags |= INIT_EXT;
	if (direct_mmap)
		out->flags2 |= INIT2_DIRECT_IO_MMAP;
	if (passthrough) {
		out->flags2 |= INIT2_PASSTHROUGH;
		out->max_stack_depth = WIRE_STACK_DEPTH;
	}
	if (out->minor < MINOR_OF_PASSTHROUGH)
		out->minor = MINOR_OF_PASSTHROUGH;
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct wire *wire = wire_of(userdata);
	const struct wire_out_header *header = iov[0].iov_base;
	struct wire_init_out init;
	struct wire_open_out open;

	if (count == 2 && wire->init_unique && header->unique == wire->init_unique) {
		wire->init_unique = 0;
		if (header->error == 0) {
			amend_init(wire, &iov[1], &init);
			iov[1].iov_base = &init;
		}
	} else if (count == 2 && pending_backing && iov[1].iov_len == sizeof(open)) {
		memcpy(&open, iov[1].iov_base, sizeof(open));
		open.open_flags &= ~(OPEN_DIRECT_IO | OPEN_KEEP_CACHE);
		open.open_flags |= OPEN_PASSTHROUGH;
		open.backing_id = pending_backing;
		iov[1].iov_base = &open;
	}
	return writev(fd, iov, count);
}

int wire_attach(struct wire *wire, struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.read = wire_read, .writev = wire_writev};

	wire->session = session;
	return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

int wire_reply_open(fuse_req_t req, const struct fuse_file_info *fi, int backing_id)
{
	int r;

	pending_backing = backing_id > 0 ? backing_id : 0;
	r = fuse_reply_open(req, fi);
	pending_backing = 0;
	return r;
}
