/* SPDX-License-Identifier: Apache-2.0 */
/* wload ls: the tensors of a checkpoint, in the order of their names. On a mount also which of them
 * are consumed, as its index.jsonl says; the rest comes from the shards' headers in both cases. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/cli.h"
#include "loader/cli/units.h"
#include "loader/pipeline/source.h"
#include "loader/pipeline/source_text.h"
#include "wloadfs/checkpoint.h"
#include "wloadfs/mount.h"

struct listing {
	struct source source;
	const struct wload_checkpoint *ckpt; /* the source's */
	const struct wload_inventory *inv;
	bool *consumed; /* by tensor; NULL where PATH is no mount */
};

static void listing_close(struct listing *list)
{
	source_close(&list->source);
	free(list->consumed);
}

/* ---- which are consumed
 * -------------------------------------------------------------------------*/

static int take_line(struct listing *list, const char *line, size_t len, struct wload_error *err)
{
	char *name CLEANUP_FREE = NULL;
	uint32_t tensor;
	int r = source_parse_consumed(line, len, &name, err);

	if (r == 0 && name && wload_inventory_find(list->inv, name, &tensor) == 0)
		list->consumed[tensor] = true;
	return r;
}

static int read_index(struct listing *list, const char *file, struct wload_error *err)
{
	FILE *f CLEANUP_FCLOSE = fopen(file, "re");
	char *line CLEANUP_FREE = NULL;
	size_t cap = 0;
	ssize_t len = 0;
	int r = 0;

	if (!f)
		return wload_fail(err, errno, "cannot open '%s': %s", file, strerror(errno));
	/* the first line is about the checkpoint */
	for (bool first = true; r == 0 && (len = getline(&line, &cap, f)) > 0; first = false)
		if (!first)
			r = take_line(list, line, (size_t)len, err);
	if (r == 0 && ferror(f))
		return wload_fail(err, errno, "cannot read '%s': %s", file, strerror(errno));
	return r;
}

/* Fills list->consumed when path is a mount. */
static int read_states(struct listing *list, const char *path, struct wload_error *err)
{
	uint32_t count = wload_inventory_count(list->inv);
	struct text file CLEANUP(text_free) = {0};

	list->consumed = calloc((size_t)count + 1, sizeof(*list->consumed));
	text_printf(&file, "%s/%s/index.jsonl", path, WLOAD_CONTROL_DIR);
	if (!list->consumed || file.failed)
		return wload_fail(err, ENOMEM, "out of memory");
	return read_index(list, file.s, err);
}

static int listing_open(const char *path, struct listing *list, struct wload_error *err)
{
	int r = source_open(path, &list->source, err);

	if (r < 0)
		return r;
	list->ckpt = list->source.ckpt;
	list->inv = wload_checkpoint_inventory(list->ckpt);
	cli_warn_of(list->ckpt);
	return list->source.mount ? read_states(list, path, err) : 0;
}

/* ---- printing
 * -----------------------------------------------------------------------------------*/

static void add_shape(const struct wload_tensor *tensor, struct text *text)
{
	text_add(text, "[", 1);
	for (uint32_t i = 0; i < tensor->rank; i++)
		text_printf(text, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
	text_add(text, "]", 1);
}

static const char *state(const struct listing *list, uint32_t tensor)
{
	return list->consumed[tensor] ? "consumed" : "live";
}

static void add_json(const struct listing *list, uint32_t index, const struct wload_tensor *tensor,
		     struct text *text)
{
	text_printf(text, "{\"name\": ");
	text_json_string(text, tensor->name);
	text_printf(text,
		    ", \"dtype\": \"%s\", \"shape\": ", wload_dtype_describe(tensor->dtype)->name);
	add_shape(tensor, text);
	text_printf(text, ", \"bytes\": %" PRIu64 ", \"shard\": ", tensor->bytes);
	text_json_string(text, wload_checkpoint_shard(list->ckpt, tensor->shard)->name);
	text_printf(text, ", \"offset\": %" PRIu64, tensor->offset);
	if (list->consumed)
		text_printf(text, ", \"state\": \"%s\"", state(list, index));
	text_printf(text, "}");
}

static void add_details(const struct listing *list, uint32_t index,
			const struct wload_tensor *tensor, struct text *text)
{
	struct text shape CLEANUP(text_free) = {0};

	add_shape(tensor, &shape);
	text_printf(text, "%-11s %-16s %14" PRIu64 "  ", wload_dtype_describe(tensor->dtype)->name,
		    shape.s ? shape.s : "", tensor->bytes);
	if (list->consumed)
		text_printf(text, "%-8s  ", state(list, index));
	units_name(text, wload_checkpoint_shard(list->ckpt, tensor->shard)->name);
	text_add(text, "  ", 2);
}

static void add_row(const struct listing *list, const struct options *options, uint32_t rank,
		    struct text *text)
{
	uint32_t index = wload_inventory_by_name(list->inv, rank);
	struct wload_tensor tensor = wload_inventory_tensor(list->inv, index);

	if (options->json) {
		text_printf(text, rank ? ",\n " : "\n ");
		add_json(list, index, &tensor, text);
		return;
	}
	if (options->details)
		add_details(list, index, &tensor, text);
	units_name(text, tensor.name);
	text_add(text, "\n", 1);
}

static int print(const struct listing *list, const struct options *options, struct wload_error *err)
{
	struct text text CLEANUP(text_free) = {0};
	uint32_t count = wload_inventory_count(list->inv);
	int r = 0;

	if (options->json)
		text_add(&text, "[", 1);
	for (uint32_t rank = 0; r == 0 && rank < count && !ferror(stdout); rank++) {
		add_row(list, options, rank, &text);
		r = cli_print(&text, err);
		text.len = 0;
	}
	if (r == 0 && options->json) {
		text_add(&text, "\n]\n", 3);
		r = cli_print(&text, err);
	}
	return r;
}

static int run(const struct options *options, struct wload_error *err)
{
	struct listing list CLEANUP(listing_close) = {0};
	int r = listing_open(options->path, &list, err);

	return r < 0 ? r : print(&list, options, err);
}

static const struct option_desc option_rows[] = {
	{"details", 'l', NULL, "data type, shape, bytes, state (on a mount), shard and name",
	 OPTION_FLAG, offsetof(struct options, details), 0, 0},
	OPTION_ROW_JSON,
	OPTION_ROW_HELP,
	{0},
};

const struct command command_ls = {
	.name = "ls",
	.arguments = "PATH",
	.summary = "List the tensors of a checkpoint or of a mount",
	.args_max = 1,
	.options = option_rows,
	.run = run,
};
