/* SPDX-License-Identifier: Apache-2.0 */
/* loader/plan/out_layout.c: how parameters are divided into files, and the index's text.
 * loader/pipeline/param_memory.c: how they are divided into arenas. */

#include <stdlib.h>
#include <string.h>

#include "loader/plan/out_layout.h"
#include "loader/pipeline/param_memory.h"
#include "plan_of.h"
#include "tap.h"

#define TENSORS_MAX 6

static const struct row {
	const char *name;
	struct plan_of_tensor tensors[TENSORS_MAX];
	size_t count;
	uint32_t shards;
	uint32_t shard[TENSORS_MAX];
	uint64_t offset[TENSORS_MAX];
} rows[] = {
	{"nothing is one empty file", {{0}}, 0, 1, {0}, {0}},
	{"all that fits goes together",
	 {{"a", WLOAD_DTYPE_U8, 40}, {"b", WLOAD_DTYPE_U8, 60}},
	 2,
	 1,
	 {0, 0},
	 {0, 40}},
	{"one byte more opens the next",
	 {{"a", WLOAD_DTYPE_U8, 40}, {"b", WLOAD_DTYPE_U8, 61}},
	 2,
	 2,
	 {0, 1},
	 {0, 0}},
	{"a larger one stands alone",
	 {{"a", WLOAD_DTYPE_U8, 1}, {"b", WLOAD_DTYPE_U8, 500}, {"c", WLOAD_DTYPE_U8, 1}},
	 3,
	 3,
	 {0, 1, 2},
	 {0, 0, 0}},
	{"a larger one first",
	 {{"a", WLOAD_DTYPE_U8, 500}, {"b", WLOAD_DTYPE_U8, 0}},
	 2,
	 2,
	 {0, 1},
	 {0, 0}},
	{"wide types come first, so that they are aligned",
	 {{"a", WLOAD_DTYPE_U8, 3},
	  {"b", WLOAD_DTYPE_F32, 2},
	  {"c", WLOAD_DTYPE_BF16, 3},
	  {"d", WLOAD_DTYPE_F32, 1}},
	 4,
	 1,
	 {0, 0, 0, 0},
	 {18, 0, 12, 8}},
};

static void check_row(struct tap *tap, const struct row *row)
{
	struct wload_error err = {0};
	struct out_layout layout = {0};
	struct plan_of made;
	bool pass = plan_of(row->tensors, row->count, &made, &err) == 0 &&
		    out_layout_build(made.plan, 100, &layout, &err) == 0 &&
		    layout.shards == row->shards && layout.first[layout.shards] == row->count;

	for (uint32_t p = 0; pass && p < row->count; p++)
		pass = layout.shard[p] == row->shard[p] && layout.offset[p] == row->offset[p];
	ok(tap, pass, "layout: %s %s", row->name, err.text);
	out_layout_free(&layout);
	plan_of_free(&made);
}

static void check_index(struct tap *tap)
{
	static const struct plan_of_tensor tensors[] = {{"z\"\n\xC0\x80", WLOAD_DTYPE_U8, 60},
							{"a", WLOAD_DTYPE_U8, 61}};
	static const char want[] =
		"{\n  \"metadata\": {\n    \"total_size\": 121\n  },\n"
		"  \"weight_map\": {\n"
		"    \"a\": \"model-00002-of-00002.safetensors\",\n"
		"    \"z\\\"\\u000a\\u0000\": \"model-00001-of-00002.safetensors\"\n"
		"  }\n}\n";
	struct wload_error err = {0};
	struct out_layout layout = {0};
	struct plan_of made;
	char *text = NULL;
	size_t len = 0;
	bool pass = plan_of(tensors, 2, &made, &err) == 0 &&
		    out_layout_build(made.plan, 100, &layout, &err) == 0 &&
		    out_layout_index(&layout, made.plan, &text, &len, &err) == 0;

	ok(tap, pass && len == strlen(want) && strcmp(text, want) == 0,
	   "index: sorted, escaped, with its size %s", err.text);
	if (pass && strcmp(text, want) != 0)
		printf("# %s\n", text);
	free(text);
	out_layout_free(&layout);
	plan_of_free(&made);
}

static void check_arenas(struct tap *tap)
{
	static const struct plan_of_tensor tensors[] = {{"a", WLOAD_DTYPE_U8, 1},
							{"b", WLOAD_DTYPE_U8, 257},
							{"c", WLOAD_DTYPE_U8, 3000},
							{"d", WLOAD_DTYPE_U8, 0},
							{"e", WLOAD_DTYPE_U8, 5}};
	uint32_t arena[5];
	uint64_t offset[5], bytes[5];
	struct wload_error err = {0};
	struct plan_of made;

	if (!ok(tap, plan_of(tensors, 5, &made, &err) == 0, "arenas: a plan"))
		return;
	ok(tap,
	   param_memory_layout(made.plan, UINT64_MAX, arena, offset, bytes) == 1 &&
		   offset[1] == 256 && offset[2] == 768 && offset[3] == 768 + 3072 &&
		   bytes[0] == 768 + 3072 + 256,
	   "arenas: one behind the other, each at a multiple of 256");
	ok(tap,
	   param_memory_layout(made.plan, 1024, arena, offset, bytes) == 3 && arena[1] == 0 &&
		   arena[2] == 1 && bytes[1] == 3072 && arena[4] == 2 && offset[4] == 0,
	   "arenas: a larger parameter has one to itself");
	plan_of_free(&made);
}

int main(void)
{
	struct tap tap = {0};
	char name[OUT_FILE_NAME_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	check_index(&tap);
	check_arenas(&tap);
	out_layout_file(0, 1, name);
	ok(&tap, strcmp(name, "model.safetensors") == 0, "file: the only one");
	out_layout_file(1, 12, name);
	ok(&tap, strcmp(name, "model-00002-of-00012.safetensors") == 0, "file: one of twelve");
	return tap_done(&tap);
}
