/* SPDX-License-Identifier: Apache-2.0 */
/* wload restore: consumed tensors of a mount come back. */

#include <inttypes.h>

#include "loader/base/cleanup.h"
#include "loader/cli/cli.h"
#include "wloadfs/mount.h"

static void close_mount(struct wload_mount **mount)
{
	wload_mount_close(*mount);
}

static int run(const struct options *options, struct wload_error *err)
{
	struct wload_mount *mount CLEANUP(close_mount) = NULL;
	struct text text CLEANUP(text_free) = {0};
	uint64_t count;
	int r;

	r = wload_mount_open(options->path, &mount, err);
	if (r == 0)
		r = wload_mount_restore(mount, options->prefix, &count, err);
	if (r < 0)
		return r;
	text_printf(&text, "%" PRIu64 " %s restored\n", count, count == 1 ? "tensor" : "tensors");
	return cli_print(&text, err);
}

static const struct option_desc option_rows[] = {
	OPTION_ROW_HELP,
	{0},
};

const struct command command_restore = {
	.name = "restore",
	.arguments = "PATH [PREFIX]",
	.summary = "Bring consumed tensors of a mount back, all or those under PREFIX",
	.args_max = 2,
	.options = option_rows,
	.run = run,
};
