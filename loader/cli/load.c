/* SPDX-License-Identifier: Apache-2.0 */
/* wload load: the load itself is libwload's; here are its options, its progress and its report. */

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/cli.h"
#include "loader/cli/interrupt.h"
#include "loader/cli/meter.h"
#include "loader/cli/new_file.h"
#include "loader/cli/report.h"
#include "loader/cli/timeline_svg.h"
#include "wloadfs/loader.h"

static void free_rules(struct wload_rules **rules)
{
	wload_rules_free(*rules);
}

static void unref_load(struct wload_load **load)
{
	wload_load_unref(*load);
}

static bool show(void *ctx, const struct wload_progress *now)
{
	struct meter *meter = ctx;

	meter_show(meter, now);
	return !interrupt_came();
}

static int run_load(const struct options *options, const struct wload_rules *rules,
		    struct wload_load **ret_load, struct wload_error *err)
{
	struct meter meter;
	struct wload_load_options load_options = {
		.device = options->device,
		.keep = options->no_consume,
		.release = options->release,
		.verify = options->verify,
		.verify_every = (uint32_t)options->verify_every,
		.out_dir = options->out,
		.rules = rules,
		.staging_bytes = options->staging,
		.threads = (unsigned int)options->threads,
		.io = (enum wload_io)options->io,
		.tp = (uint32_t)options->tp,
		.rank = cli_rank(options),
		.ep = (uint32_t)options->ep,
		.layout = (enum wload_layout)options->layout,
		.names = (enum wload_names)options->names,
		.dequantise = options->dequantise,
		.dtype = cli_dtype(options),
		.swizzle = options->swizzle,
		.progress = show,
		.progress_ctx = &meter,
	};
	int r;

	meter_start(&meter, options->quiet);
	r = wload_load(options->path, &load_options, ret_load, err);
	meter_end(&meter);
	return r;
}

static int draw(const struct options *options, const struct wload_load *load, struct new_file *file,
		struct wload_error *err)
{
	struct text svg CLEANUP(text_free) = {0};
	struct timeline_picture picture = {
		.path = options->path,
		.report = wload_load_report(load),
		.keeps = !options->release && wload_load_device(load, NULL) != WLOAD_DEVICE_NULL,
	};

	picture.samples = wload_load_samples(load, &picture.count);
	timeline_svg(&picture, &svg);
	return new_file_commit(file, &svg, err);
}

/* Loads and draws. Dying at once is all that a load without files needs to stop; one with files
 * first removes what it was writing. */
static int load_and_draw(const struct options *options, const struct wload_rules *rules,
			 struct wload_load **ret_load, struct wload_error *err)
{
	struct new_file file = {.fd = -1};
	bool files = options->out || options->timeline;
	int r = 0;

	if (files)
		interrupt_start();
	if (options->timeline)
		r = new_file_open(options->timeline, &file, err);
	if (r == 0)
		r = run_load(options, rules, ret_load, err);
	if (r == 0 && options->timeline)
		r = draw(options, *ret_load, &file, err);
	new_file_close(&file);
	if (files)
		interrupt_end();
	return r;
}

static int check_options(const struct options *options, struct wload_error *err)
{
	int r = cli_check_rank(options, err);

	if (r < 0)
		return r;
	if (!options->device || strcmp(options->device, "null") != 0)
		return 0;
	if (options->verify || options->verify_every)
		return cli_usage(err, "--verify%s: --device null keeps nothing to compare",
				 options->verify ? "" : "-every");
	if (options->out)
		return cli_usage(err, "--out: --device null keeps nothing to write");
	return 0;
}

static int print_report(const struct options *options, const struct wload_load *load,
			struct wload_error *err)
{
	struct text text CLEANUP(text_free) = {0};

	for (uint32_t i = 0; !options->quiet && wload_load_warning(load, i); i++)
		cli_warn(wload_load_warning(load, i));
	if (options->json)
		report_json(load, &text);
	else if (!options->quiet)
		report_summary(load, options->path, options->no_consume, &text);
	return cli_print(&text, err);
}

static int run(const struct options *options, struct wload_error *err)
{
	struct wload_rules *rules CLEANUP(free_rules) = NULL;
	struct wload_load *load CLEANUP(unref_load) = NULL;
	int printed, r = check_options(options, err);

	if (r < 0)
		return r;
	/* A reader of our progress that goes away must not end a load half-way; one of the report
	 * that does is told as a failed write. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (options->rules)
		r = wload_rules_load(options->rules, &rules, err);
	if (r == 0)
		r = load_and_draw(options, rules, &load, err);
	if (!load)
		return r;
	/* also of a load whose picture failed: what it consumed is gone */
	printed = print_report(options, load, err);
	return r < 0 ? r : printed;
}

static const struct option_desc option_rows[] = {
	{"device", 0, "DEVICE", "auto, cuda, cuda:N, host or null (reads and drops); default auto",
	 OPTION_DEVICE, offsetof(struct options, device), 0, 0},
	{"no-consume", 0, NULL, "leave the mount's tensors as they are", OPTION_FLAG,
	 offsetof(struct options, no_consume), 0, 0},
	{"release", 0, NULL, "free each parameter once it is complete", OPTION_FLAG,
	 offsetof(struct options, release), 0, 0},
	{"verify", 0, NULL, "compare with the source before consuming it", OPTION_FLAG,
	 offsetof(struct options, verify), 0, 0},
	{"verify-every", 0, "N", "compare every Nth parameter only, from the first on",
	 OPTION_NUMBER, offsetof(struct options, verify_every), 1, UINT32_MAX},
	{"out", 0, "DIR", "write what was loaded there, as safetensors", OPTION_TEXT,
	 offsetof(struct options, out), 0, 0},
	{"timeline", 0, "FILE.svg", "draw host memory over time, and bytes on the device",
	 OPTION_TEXT, offsetof(struct options, timeline), 0, 0},
	OPTION_ROW_RULES,
	OPTION_ROW_TP,
	OPTION_ROW_RANK,
	OPTION_ROW_EP,
	OPTION_ROW_LAYOUT,
	OPTION_ROW_NAMES,
	OPTION_ROW_DEQUANTISE,
	OPTION_ROW_DTYPE,
	OPTION_ROW_SWIZZLE,
	{"staging", 0, "SIZE", "all staging buffers together (K, M, G: binary)", OPTION_SIZE,
	 offsetof(struct options, staging), UINT64_C(128) << 10, UINT64_C(64) << 30},
	{"threads", 0, "N", "readers", OPTION_NUMBER, offsetof(struct options, threads), 1, 512},
	{"io", 0, "auto|buffered|direct", "through the page cache, past it, or as is faster; auto",
	 OPTION_CHOICE, offsetof(struct options, io), 0, 0}, /* as enum wload_io */
	{"json", 0, NULL, "print the report as one JSON object", OPTION_FLAG,
	 offsetof(struct options, json), 0, 0},
	{"quiet", 0, NULL, "no progress, no summary", OPTION_FLAG, offsetof(struct options, quiet),
	 0, 0},
	OPTION_ROW_HELP,
	{0},
};

const struct command command_load = {
	.name = "load",
	.arguments = "PATH",
	.summary = "Read a checkpoint, fuse, upload to a device, consume as it goes",
	.details =
		"PATH is the root of a wloadfs mount, a checkpoint's folder, or one .safetensors "
		"file.\nOnly a mount is ever consumed from.",
	.args_max = 1,
	.options = option_rows,
	.run = run,
};
