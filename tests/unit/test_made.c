/* SPDX-License-Identifier: Apache-2.0 */
/* fs/made: the files of a rank's checkpoint. Each shard's header is what the parser of safetensors
 * takes, and its parameters tile the rest. */

#include <stdlib.h>
#include <string.h>

#include "fs/made.h"
#include "loader/checkpoint/safetensors.h"
#include "plan_of.h"
#include "tap.h"

#define TENSORS_MAX 4

static const struct row {
	const char *name;
	struct plan_of_tensor tensors[TENSORS_MAX];
	size_t count;
	const char *files; /* each with a blank behind */
} rows[] = {
	{"nothing", {{0}}, 0, "model.safetensors model.safetensors.index.json "},
	{"one shard",
	 {{"a", WLOAD_DTYPE_U8, 3}, {"b", WLOAD_DTYPE_F32, 2}, {"c", WLOAD_DTYPE_BF16, 5}},
	 3,
	 "model.safetensors model.safetensors.index.json "},
	{"several shards, and an empty parameter",
	 {{"a", WLOAD_DTYPE_U8, 99},
	  {"b", WLOAD_DTYPE_U8, 0},
	  {"c", WLOAD_DTYPE_F32, 26},
	  {"d", WLOAD_DTYPE_U8, 500}},
	 4,
	 "model-00001-of-00003.safetensors model-00002-of-00003.safetensors "
	 "model-00003-of-00003.safetensors model.safetensors.index.json "},
};

static bool has_names(const struct made *made, const char *files)
{
	char name[OUT_FILE_NAME_MAX];
	uint32_t found;

	for (uint32_t file = 0; file < made_files(made); file++) {
		size_t len;

		made_name(made, file, name);
		len = strlen(name);
		if (strncmp(files, name, len) != 0 || files[len] != ' ' ||
		    made_find(made, name, &found) < 0 || found != file)
			return false;
		files += len + 1;
	}
	return *files == '\0' && made_find(made, "model-00001-of-00009.safetensors", &found) < 0;
}

/* Walks the pieces from every offset to the end, and counts their bytes. */
static bool tiles(const struct made *made, const struct wload_plan *plan, uint32_t file)
{
	uint64_t at = made->header_len[file], begin;
	struct made_piece piece;
	uint32_t in;

	for (; at < made->bytes[file]; at++) {
		if (!made_piece(made, plan, file, at, &piece) || piece.bytes == 0)
			return false;
		begin = made_offset(made, piece.param, &in);
		if (in != file || begin + piece.offset != at ||
		    piece.offset + piece.bytes != wload_plan_param(plan, piece.param)->bytes)
			return false;
	}
	return !made_piece(made, plan, file, at, &piece);
}

static bool is_header(const struct made *made, const struct wload_plan *plan, uint32_t file)
{
	struct safetensors_header header = {0};
	uint8_t *text = NULL;
	size_t len = 0;
	uint64_t json_len = 0;
	bool right = made_text(made, plan, file, &text, &len, NULL) == 0 &&
		     len == made->header_len[file] && len % 8 == 0 &&
		     safetensors_read_prefix(text, made->bytes[file], &json_len, NULL) == 0 &&
		     safetensors_parse_header(text + 8, (size_t)json_len, made->bytes[file] - len,
					      &header, NULL) == 0 &&
		     header.count == made->layout.first[file + 1] - made->layout.first[file];

	safetensors_clear(&header);
	free(text);
	return right;
}

static void check_row(struct tap *tap, const struct row *row)
{
	struct plan_of of = {0};
	struct made made = {0};
	struct wload_error err = {0};
	uint8_t *index = NULL;
	size_t len = 0;
	bool right = plan_of(row->tensors, row->count, &of, &err) == 0 &&
		     made_build(of.plan, 200, &made, &err) == 0;

	ok(tap, right && has_names(&made, row->files), "%s: names %s", row->name, err.text);
	for (uint32_t file = 0; right && file < made.layout.shards; file++)
		right = is_header(&made, of.plan, file) && tiles(&made, of.plan, file);
	ok(tap, right, "%s: headers and parameters", row->name);
	right = right && made_text(&made, of.plan, made.layout.shards, &index, &len, &err) == 0 &&
		len == made.bytes[made.layout.shards] && made_is_index(&made, made.layout.shards);
	ok(tap, right && memmem(index, len, "\"total_size\"", 12), "%s: index", row->name);
	free(index);
	made_free(&made);
	plan_of_free(&of);
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	return tap_done(&tap);
}
