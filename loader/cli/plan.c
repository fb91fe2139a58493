/* SPDX-License-Identifier: Apache-2.0 */
/* wload plan: what a load would fuse from what. Reads headers only. */

#include <errno.h>

#include "loader/base/cleanup.h"
#include "loader/cli/cli.h"
#include "loader/pipeline/source.h"
#include "loader/plan/print.h"
#include "wloadfs/checkpoint.h"

static void free_rules(struct wload_rules **rules)
{
	wload_rules_free(*rules);
}

static void free_plan(struct wload_plan **plan)
{
	wload_plan_free(*plan);
}

static int print(const struct options *options, const struct wload_inventory *inv,
		 const struct wload_plan *plan, struct wload_error *err)
{
	int r = (options->json ? plan_print_json : plan_print_table)(stdout, inv, plan);

	/* why stdout failed is main's to say */
	return r == -ENOMEM ? wload_fail(err, ENOMEM, "out of memory") : 0;
}

static int run(const struct options *options, struct wload_error *err)
{
	struct source source CLEANUP(source_close) = {0};
	struct wload_rules *rules CLEANUP(free_rules) = NULL;
	struct wload_plan *plan CLEANUP(free_plan) = NULL;
	struct wload_plan_options wanted = {0};
	const struct wload_inventory *inv;
	int r = cli_check_rank(options, err);

	if (r < 0)
		return r;
	if (options->rules)
		r = wload_rules_load(options->rules, &rules, err);
	if (r == 0)
		r = source_open(options->path, &source, err);
	if (r < 0)
		return r;
	cli_warn_of(source.ckpt);
	inv = wload_checkpoint_inventory(source.ckpt);
	wanted.rules = rules;
	wanted.names = (enum wload_names)options->names;
	wanted.tp = (uint32_t)options->tp;
	wanted.ep = (uint32_t)options->ep;
	wanted.layout = (enum wload_layout)options->layout;
	wanted.dequantise = options->dequantise;
	wanted.dtype = cli_dtype(options);
	wanted.swizzle = options->swizzle;
	wanted.rank = cli_rank(options);
	r = source_slice(&source, options->path, &wanted, err);
	if (r < 0)
		return r;
	r = wload_plan_build(inv, wload_checkpoint_config(source.ckpt), &wanted, &plan, err);
	return r < 0 ? r : print(options, inv, plan, err);
}

static const struct option_desc option_rows[] = {
	OPTION_ROW_JSON,  OPTION_ROW_RULES,   OPTION_ROW_NAMES,	 OPTION_ROW_TP,
	OPTION_ROW_RANK,  OPTION_ROW_EP,      OPTION_ROW_LAYOUT, OPTION_ROW_DEQUANTISE,
	OPTION_ROW_DTYPE, OPTION_ROW_SWIZZLE, OPTION_ROW_HELP,	 {0},
};

const struct command command_plan = {
	.name = "plan",
	.arguments = "PATH",
	.summary = "Show which parameters a load would make, of which tensors",
	.args_max = 1,
	.options = option_rows,
	.run = run,
};
