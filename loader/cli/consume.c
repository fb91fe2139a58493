/* SPDX-License-Identifier: Apache-2.0 */
/* wload consume: mark_consumed from a shell. Only a mount is ever consumed from: wload_mount_open()
 * asks the kernel what PATH is before anything is sent anywhere. */

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
	int ways = !!options->prefix + !!options->key + options->all;
	struct wload_mount *mount CLEANUP(close_mount) = NULL;
	struct text text CLEANUP(text_free) = {0};
	uint64_t count;
	int r;

	if (ways != 1)
		return cli_usage(err, "consume: %s; want one of PREFIX, --key NAME, --all",
				 ways ? "too much is named" : "nothing is named");
	r = wload_mount_open(options->path, &mount, err);
	if (r < 0)
		return r;
	if (options->all)
		r = wload_mark_consumed_all(mount, &count, err);
	else if (options->key)
		r = wload_mark_consumed_keys(mount, &options->key, 1, &count, err);
	else
		r = wload_mark_consumed(mount, options->prefix, &count, err);
	if (r < 0)
		return r;
	text_printf(&text, "%" PRIu64 " %s consumed\n", count, count == 1 ? "tensor" : "tensors");
	return cli_print(&text, err);
}

static const struct option_desc option_rows[] = {
	{"key", 0, "NAME", "consume this tensor", OPTION_TEXT, offsetof(struct options, key), 0, 0},
	{"all", 0, NULL, "consume every tensor", OPTION_FLAG, offsetof(struct options, all), 0, 0},
	OPTION_ROW_HELP,
	{0},
};

const struct command command_consume = {
	.name = "consume",
	.arguments = "PATH [PREFIX]",
	.summary = "Consume tensors of a mount: their names and cached pages go",
	.details = "PREFIX names a module: every tensor under PREFIX + \".\" is consumed.",
	.args_max = 2,
	.options = option_rows,
	.run = run,
};
