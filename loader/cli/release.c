/* SPDX-License-Identifier: Apache-2.0 */
/* wload release: what a rank that died, or will not load, would have consumed is let go of. */

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

	if (options->rank == OPTION_NOT_GIVEN)
		return cli_usage(err, "release: --rank R is missing");
	r = wload_mount_open(options->path, &mount, err);
	if (r == 0)
		r = wload_mount_release(mount, (uint32_t)options->rank, &count, err);
	if (r < 0)
		return r;
	text_printf(&text, "%" PRIu64 " %s released\n", count, count == 1 ? "tensor" : "tensors");
	return cli_print(&text, err);
}

static const struct option_desc option_rows[] = {
	{"rank", 0, "R", "whose claims, from 0", OPTION_NUMBER, offsetof(struct options, rank), 0,
	 UINT32_MAX},
	OPTION_ROW_HELP,
	{0},
};

const struct command command_release = {
	.name = "release",
	.arguments = "PATH --rank R",
	.summary = "Drop all claims of a rank of a mount, such as one that died",
	.details =
		"PATH is the root of a mount with ranks (-o ranks=N). Tensors that no other rank "
		"claims\nare consumed.",
	.args_max = 1,
	.options = option_rows,
	.run = run,
};
