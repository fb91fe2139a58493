/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "loader/plan/out_layout.h"

static int by_width(const void *left, const void *right, void *ctx)
{
	const uint32_t *a = left, *b = right;
	const struct wload_plan *plan = ctx;
	unsigned int wide_a = wload_dtype_describe(wload_plan_param(plan, *a)->dtype)->bits;
	unsigned int wide_b = wload_dtype_describe(wload_plan_param(plan, *b)->dtype)->bits;

	if (wide_a != wide_b)
		return wide_a > wide_b ? -1 : 1;
	return (*a > *b) - (*a < *b);
}

/* Cuts the plan's order into shards. */
static void cut(const struct wload_plan *plan, uint64_t shard_bytes, struct out_layout *layout)
{
	uint64_t held = 0;
	uint32_t count = wload_plan_count(plan);

	for (uint32_t p = 0; p < count; p++) {
		uint64_t bytes = wload_plan_param(plan, p)->bytes;

		if (layout->shards == 0 ||
		    (held && (held > shard_bytes || shard_bytes - held < bytes))) {
			layout->first[layout->shards++] = p;
			held = 0;
		}
		held += bytes;
		layout->order[p] = p;
		layout->shard[p] = layout->shards - 1;
	}
	if (layout->shards == 0) /* nothing to write is one file that says so */
		layout->first[layout->shards++] = 0;
	layout->first[layout->shards] = count;
}

static void place(const struct wload_plan *plan, struct out_layout *layout, uint32_t shard)
{
	uint32_t first = layout->first[shard], end = layout->first[shard + 1];
	uint64_t offset = 0;

	qsort_r(layout->order + first, end - first, sizeof(*layout->order), by_width,
		(void *)(uintptr_t)plan);
	for (uint32_t i = first; i < end; i++) {
		layout->offset[layout->order[i]] = offset;
		offset += wload_plan_param(plan, layout->order[i])->bytes;
	}
}

int out_layout_build(const struct wload_plan *plan, uint64_t shard_bytes,
		     struct out_layout *ret_layout, struct wload_error *err)
{
	size_t n = (size_t)wload_plan_count(plan) + 2;
	struct out_layout *layout = ret_layout;

	*layout = (struct out_layout){.first = calloc(n, sizeof(uint32_t)),
				      .order = calloc(n, sizeof(uint32_t)),
				      .shard = calloc(n, sizeof(uint32_t)),
				      .offset = calloc(n, sizeof(uint64_t))};
	if (!layout->first || !layout->order || !layout->shard || !layout->offset)
		return wload_fail(err, ENOMEM, "no memory to lay out %zu parameters", n - 2);
	cut(plan, shard_bytes, layout);
	for (uint32_t s = 0; s < layout->shards; s++)
		place(plan, layout, s);
	return 0;
}

void out_layout_free(struct out_layout *layout)
{
	free(layout->first);
	free(layout->order);
	free(layout->shard);
	free(layout->offset);
	*layout = (struct out_layout){0};
}

void out_layout_file(uint32_t shard, uint32_t shards, char name[OUT_FILE_NAME_MAX])
{
	if (shards <= 1)
		(void)snprintf(name, OUT_FILE_NAME_MAX, "model.safetensors");
	else
		(void)snprintf(name, OUT_FILE_NAME_MAX,
			       "model-%05" PRIu32 "-of-%05" PRIu32 ".safetensors", shard + 1,
			       shards);
}

static int by_name(const void *left, const void *right, void *ctx)
{
	const struct wload_plan *plan = ctx;

	return strcmp(wload_plan_param(plan, *(const uint32_t *)left)->name,
		      wload_plan_param(plan, *(const uint32_t *)right)->name);
}

static void put_weight_map(struct text *text, const struct out_layout *layout,
			   const struct wload_plan *plan, const uint32_t *sorted)
{
	char file[OUT_FILE_NAME_MAX];

	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		out_layout_file(layout->shard[sorted[i]], layout->shards, file);
		text_printf(text, "%s\n    ", i ? "," : "");
		text_json_string(text, wload_plan_param(plan, sorted[i])->name);
		text_printf(text, ": \"%s\"", file);
	}
}

int out_layout_index(const struct out_layout *layout, const struct wload_plan *plan,
		     char **ret_text, size_t *ret_len, struct wload_error *err)
{
	uint32_t count = wload_plan_count(plan);
	CLEANUP_FREE uint32_t *sorted = calloc((size_t)count + 1, sizeof(*sorted));
	struct text text CLEANUP(text_free) = {0};

	if (!sorted)
		return wload_fail(err, ENOMEM, "no memory for an index of %" PRIu32, count);
	for (uint32_t p = 0; p < count; p++)
		sorted[p] = p;
	qsort_r(sorted, count, sizeof(*sorted), by_name, (void *)(uintptr_t)plan);
	text_printf(&text,
		    "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64
		    "\n  },\n  \"weight_map\": {",
		    wload_plan_bytes(plan));
	put_weight_map(&text, layout, plan, sorted);
	text_printf(&text, "\n  }\n}\n");
	if (text.failed)
		return wload_fail(err, ENOMEM, "no memory for an index of %" PRIu32, count);
	*ret_len = text.len;
	*ret_text = TAKE_PTR(text.s);
	return 0;
}
