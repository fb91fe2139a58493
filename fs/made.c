/* SPDX-License-Identifier: Apache-2.0 */
/* Lays out the files of a rank's checkpoint (see made.h). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/made.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"

#define INDEX_FILE "model.safetensors.index.json"

/* The header of one shard. */
static int shard_header(const struct made *made, const struct wload_plan *plan, uint32_t shard,
			uint8_t **ret_bytes, size_t *ret_len, struct wload_error *err)
{
	const struct out_layout *layout = &made->layout;
	uint32_t first = layout->first[shard], count = layout->first[shard + 1] - first;
	CLEANUP_FREE struct wload_tensor *tensors = calloc((size_t)count + 1, sizeof(*tensors));

	if (!tensors)
		return wload_fail(err, ENOMEM, "no memory for a header of %u tensors", count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t p = layout->order[first + i];
		const struct wload_param *param = wload_plan_param(plan, p);

		tensors[i] = (struct wload_tensor){.name = param->name,
						   .shape = param->shape,
						   .rank = param->rank,
						   .dtype = param->dtype,
						   .offset = layout->offset[p],
						   .bytes = param->bytes};
	}
	return safetensors_write_header(tensors, count, ret_bytes, ret_len, err);
}

int made_text(const struct made *made, const struct wload_plan *plan, uint32_t file,
	      uint8_t **ret_bytes, size_t *ret_len, struct wload_error *err)
{
	char *text;
	int r;

	if (!made_is_index(made, file))
		return shard_header(made, plan, file, ret_bytes, ret_len, err);
	r = out_layout_index(&made->layout, plan, &text, ret_len, err);
	if (r == 0)
		*ret_bytes = (uint8_t *)text;
	return r;
}

/* How large a file is, which only its text can tell. */
static int measure(struct made *made, const struct wload_plan *plan, uint32_t file,
		   struct wload_error *err)
{
	CLEANUP_FREE uint8_t *text = NULL;
	size_t len = 0;
	int r = made_text(made, plan, file, &text, &len, err);

	made->bytes[file] = len;
	if (r < 0 || made_is_index(made, file))
		return r;
	made->header_len[file] = len;
	for (uint32_t i = made->layout.first[file]; i < made->layout.first[file + 1]; i++)
		made->bytes[file] += wload_plan_param(plan, made->layout.order[i])->bytes;
	return 0;
}

int made_build(const struct wload_plan *plan, uint64_t shard_bytes, struct made *ret,
	       struct wload_error *err)
{
	int r;

	*ret = (struct made){0};
	r = out_layout_build(plan, shard_bytes, &ret->layout, err);
	if (r < 0)
		return r;
	ret->header_len = calloc(made_files(ret), sizeof(*ret->header_len));
	ret->bytes = calloc(made_files(ret), sizeof(*ret->bytes));
	if (!ret->header_len || !ret->bytes)
		return wload_fail(err, ENOMEM, "no memory to lay out %u files", made_files(ret));
	for (uint32_t file = 0; r == 0 && file < made_files(ret); file++)
		r = measure(ret, plan, file, err);
	return r;
}

void made_free(struct made *made)
{
	out_layout_free(&made->layout);
	free(made->header_len);
	free(made->bytes);
	*made = (struct made){0};
}

void made_name(const struct made *made, uint32_t file, char name[OUT_FILE_NAME_MAX])
{
	if (made_is_index(made, file))
		memcpy(name, INDEX_FILE, sizeof(INDEX_FILE));
	else
		out_layout_file(file, made->layout.shards, name);
}

int made_find(const struct made *made, const char *name, uint32_t *ret_file)
{
	char spelled[OUT_FILE_NAME_MAX];

	for (uint32_t file = 0; file < made_files(made); file++) {
		made_name(made, file, spelled);
		if (strcmp(spelled, name) == 0) {
			*ret_file = file;
			return 0;
		}
	}
	return -ENOENT;
}

bool made_piece(const struct made *made, const struct wload_plan *plan, uint32_t file,
		uint64_t offset, struct made_piece *ret)
{
	const struct out_layout *layout = &made->layout;
	uint32_t lo = layout->first[file], end = layout->first[file + 1], hi = end;
	uint64_t at = offset - made->header_len[file];

	while (lo < hi) { /* the first that ends behind it */
		uint32_t mid = lo + (hi - lo) / 2, p = layout->order[mid];

		if (layout->offset[p] + wload_plan_param(plan, p)->bytes > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo == end)
		return false;
	ret->param = layout->order[lo];
	ret->offset = at - layout->offset[ret->param];
	ret->bytes = wload_plan_param(plan, ret->param)->bytes - ret->offset;
	return true;
}

uint64_t made_offset(const struct made *made, uint32_t param, uint32_t *ret_file)
{
	*ret_file = made->layout.shard[param];
	return made->header_len[*ret_file] + made->layout.offset[param];
}
