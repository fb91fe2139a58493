/* SPDX-License-Identifier: Apache-2.0 */
/* What is the same with every libfuse (wire.h): the capabilities that all know, and what goes past
 * libfuse to the kernel on the session's descriptor.
 *
 * Backing files are registered here and not by the fuse_passthrough_open() of libfuse 3.17: that
 * prints and forgets the errno which tells why a shard is served, and needs a request, which there
 * is none of when stats.json asks or when an opener has gone away. Notifications are a plain write,
 * as libfuse 3.18's fuse_lowlevel_notify_increment_epoch() is. */

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/wire.h"

#define MAX_BACKGROUND	    64
#define MINOR_OF_MAX_PAGES  28		 /* Linux 4.20 */
#define MINOR_OF_EPOCH	    44		 /* Linux 6.16 */
#define SMALL_REQUEST_BYTES (32u * 4096) /* what kernels before max_pages take */
#define NOTIFY_INC_EPOCH    8

struct wire_notify {
	uint32_t len;
	int32_t code;
	uint64_t unique;
};

struct wire_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define IOC_BACKING_OPEN  _IOW(229, 1, struct wire_backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

void wire_ask(struct wire *wire, struct fuse_conn_info *conn, const struct wire_capability *list,
	      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if ((conn->capable & list[i].bits) != list[i].bits)
			feature_off(wire->features, list[i].feature, FEATURE_MISSING);
		if (feature_on(wire->features, list[i].feature))
			conn->want |= list[i].bits;
		else
			conn->want &= ~list[i].bits;
	}
}

void wire_negotiate(struct wire *wire, struct fuse_conn_info *conn)
{
	static const struct wire_capability capabilities[] = {
		{FEATURE_PARALLEL_DIROPS, FUSE_CAP_PARALLEL_DIROPS},
		{FEATURE_READDIRPLUS, FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO},
		{FEATURE_ASYNC_READ, FUSE_CAP_ASYNC_READ},
		{FEATURE_ASYNC_DIO, FUSE_CAP_ASYNC_DIO},
		{FEATURE_EXPLICIT_INVAL, FUSE_CAP_EXPLICIT_INVAL_DATA},
	};

	wire->kernel_minor = conn->proto_minor;
	/* Nothing changes behind the kernel's back without our telling it. */
	conn->want &= ~(unsigned int)(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ |
				      FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	/* With it, the kernel would cut its own view of a file whose O_TRUNC an open let pass. */
	conn->want &= ~(unsigned int)FUSE_CAP_ATOMIC_O_TRUNC;
	conn->max_background = MAX_BACKGROUND;
	wire_ask(wire, conn, capabilities, sizeof(capabilities) / sizeof(capabilities[0]));
	wire_negotiate_way(wire, conn);
	/* These two have no bit that libfuse shows. */
	if (conn->proto_minor < MINOR_OF_EPOCH)
		feature_off(wire->features, FEATURE_EPOCH, FEATURE_MISSING);
	if (conn->proto_minor < MINOR_OF_MAX_PAGES)
		feature_off(wire->features, FEATURE_LARGE_REQUESTS, FEATURE_MISSING);
	if (!feature_on(wire->features, FEATURE_LARGE_REQUESTS))
		conn->max_write = SMALL_REQUEST_BYTES; /* libfuse makes max_pages of it */
}

int wire_backing_open(const struct wire *wire, int fd)
{
	struct wire_backing_map map = {.fd = fd};
	int id = ioctl(fuse_session_fd(wire->session), IOC_BACKING_OPEN, &map);

	return id < 0 ? -errno : id;
}

void wire_backing_close(const struct wire *wire, int backing_id)
{
	uint32_t id = (uint32_t)backing_id;

	(void)ioctl(fuse_session_fd(wire->session), IOC_BACKING_CLOSE, &id);
}

int wire_increment_epoch(const struct wire *wire)
{
	struct wire_notify notify = {.len = sizeof(notify), .code = NOTIFY_INC_EPOCH};

	if (write(fuse_session_fd(wire->session), &notify, sizeof(notify)) < 0)
		return -errno;
	return 0;
}
