/* SPDX-License-Identifier: Apache-2.0 */
/* wload stats: a mount's stats.json, as it is or for people, once or again and again. What it holds
 * is the mount's business; here every member becomes a line, and numbers of bytes are also told in
 * larger units. */

#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/cli.h"
#include "loader/cli/stats_text.h"
#include "loader/cli/watch.h"
#include "wloadfs/mount.h"

#define INTERVAL_MS 1000

static void close_mount(struct wload_mount **mount)
{
	wload_mount_close(*mount);
}

static int show_once(const struct options *options, struct wload_error *err)
{
	struct wload_mount *mount CLEANUP(close_mount) = NULL;
	struct text text CLEANUP(text_free) = {0};
	char *json CLEANUP_FREE = NULL;
	int r;

	r = wload_mount_open(options->path, &mount, err);
	if (r == 0)
		r = wload_mount_stats(mount, &json, err);
	if (r == 0 && options->json)
		text_add(&text, json, strlen(json));
	else if (r == 0)
		r = stats_text(json, &text, err);
	return r < 0 ? r : cli_print(&text, err);
}

static int run(const struct options *options, struct wload_error *err)
{
	if (options->watch && options->json)
		return cli_usage(err, "stats: --watch draws, --json prints once; want one of them");
	if (options->interval_ms && !options->watch)
		return cli_usage(err,
				 "--interval: is between the looks of --watch, which is missing");
	if (!options->watch)
		return show_once(options, err);
	return watch(options->path, options->interval_ms ? options->interval_ms : INTERVAL_MS, err);
}

static const struct option_desc option_rows[] = {
	{"json", 0, NULL, "print stats.json as it is", OPTION_FLAG, offsetof(struct options, json),
	 0, 0},
	{"watch", 0, NULL, "show it as it moves, with a bar for every layer", OPTION_FLAG,
	 offsetof(struct options, watch), 0, 0},
	{"interval", 0, "SECONDS", "between two looks; default 1", OPTION_SECONDS,
	 offsetof(struct options, interval_ms), 100, 3600000},
	OPTION_ROW_HELP,
	{0},
};

const struct command command_stats = {
	.name = "stats",
	.arguments = "PATH",
	.summary = "Show what a mount has served, consumed and evicted",
	.args_max = 1,
	.options = option_rows,
	.run = run,
};
