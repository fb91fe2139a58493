/* SPDX-License-Identifier: Apache-2.0 */
/* Passthrough for libfuse 3.17 and later, as in Debian 13: by its API, two capabilities and a field
 * of fuse_file_info. Why backing files are not registered through it as well: wire.c. */

#include "fs/wire.h"

int wire_attach(struct wire *wire, struct fuse_session *session)
{
	wire->session = session;
	return 0;
}

void wire_negotiate_way(struct wire *wire, struct fuse_conn_info *conn)
{
	static const struct wire_capability capabilities[] = {
		{FEATURE_PASSTHROUGH, FUSE_CAP_PASSTHROUGH},
		{FEATURE_DIRECT_MMAP, FUSE_CAP_DIRECT_IO_ALLOW_MMAP},
	};

	wire_ask(wire, conn, capabilities, sizeof(capabilities) / sizeof(capabilities[0]));
	/* libfuse adds FUSE's own level. */
	conn->max_backing_stack_depth = WIRE_STACK_DEPTH - 1;
}

int wire_reply_open(fuse_req_t req, const struct fuse_file_info *fi, int backing_id)
{
	struct fuse_file_info passed = *fi;

	if (backing_id > 0) {
		passed.backing_id = backing_id;
		passed.direct_io = 0;
		passed.keep_cache = 0;
	}
	return fuse_reply_open(req, &passed);
}
