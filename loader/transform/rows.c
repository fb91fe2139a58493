/* SPDX-License-Identifier: Apache-2.0 */
/* A box is done row by row: along the dimension in which what is written lies closest. Where what
 * is read lies closest along another, rows are cut into tiles that stay in the nearest cache, so
 * that each line of it is fetched once:
 *
 *   in            out
 *   [a b c]       [a d]      along: down in `in`, to the right in `out`
 *   [d e f]  -->  [b e]      across: to the right in `in`
 *                 [c f]
 */

#include <string.h>

#include "loader/transform/kinds.h"
#include "loader/transform/transpose.h"

#define TILE	       64
#define TILE_AREA      (TILE * TILE)
#define PACK_GAP_BYTES 8

static void drop_dim(struct rows *rows, unsigned int d)
{
	rows->box.begin[d] = 0;
	rows->box.size[d] = 1;
}

/* Dimensions that are one run of elements on both sides become one. */
static void merge(struct rows *rows)
{
	unsigned int inner = WLOAD_STEP_DIMS;

	for (unsigned int d = WLOAD_STEP_DIMS; d-- > 0;) {
		if (rows->box.size[d] == 1)
			continue;
		if (inner < WLOAD_STEP_DIMS &&
		    rows->in.stride[d] == rows->box.size[inner] * rows->in.stride[inner] &&
		    rows->out_stride[d] == rows->box.size[inner] * rows->out_stride[inner]) {
			rows->box.size[d] *= rows->box.size[inner];
			rows->in.stride[d] = rows->in.stride[inner];
			rows->out_stride[d] = rows->out_stride[inner];
			drop_dim(rows, inner);
		}
		inner = d;
	}
}

/* A few elements that stay beside each other are moved as one. */
static void widen(struct work *work)
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		uint64_t width = work->width * work->rows.box.size[d];

		if (work->rows.box.size[d] == 1 || work->rows.in.stride[d] != work->width ||
		    work->rows.out_stride[d] != work->width ||
		    (width != 4 && width != 8 && width != 16))
			continue;
		work->width = (unsigned int)width;
		drop_dim(&work->rows, d);
		return;
	}
}

/* The dimension of the smallest of some strides. */
static unsigned int nearest(const struct box *box, const uint64_t stride[WLOAD_STEP_DIMS])
{
	unsigned int best = WLOAD_STEP_DIMS - 1;

	for (unsigned int d = WLOAD_STEP_DIMS; d-- > 0;)
		if (box->size[d] > 1 && (box->size[best] == 1 || stride[d] < stride[best]))
			best = d;
	return best;
}

static void choose_dims(struct work *work)
{
	const struct rows *rows = &work->rows;

	work->along = rows->step->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT
			      ? box_group_dim(rows->step)
			      : nearest(&rows->box, rows->out_stride);
	work->across = nearest(&rows->box, rows->in.stride);
	if (rows->in.stride[work->across] >= rows->in.stride[work->along])
		work->across = work->along;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The row at index[] of the box, counted from its begin, of `count` elements. */
static struct row row_at(const struct work *work, const uint64_t index[WLOAD_STEP_DIMS],
			 uint64_t count)
{
	const struct rows *rows = &work->rows;
	const struct wload_step *step = rows->step;
	unsigned int along = work->along;
	struct row row = {.in = rows->in.first,
			  .out = rows->out_first,
			  .scale = rows->scale.first,
			  .in_stride = rows->in.stride[along],
			  .out_stride = rows->out_stride[along],
			  .scale_stride = rows->scale.stride[along],
			  .begin = rows->box.begin[along] + index[along],
			  .block = step->block[along],
			  .count = count};

	/* Where all share one scale that is one run, but that NVFP4's groups are requantised one by
	 * one. */
	if (row.scale_stride == 0 && step->kind != WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT)
		row.block = UINT64_MAX;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		uint64_t begin = rows->box.begin[d], block = step->block[d];

		if (index[d] == 0)
			continue;
		row.in += index[d] * rows->in.stride[d];
		row.out += index[d] * rows->out_stride[d];
		if (rows->scale.stride[d])
			row.scale += ((begin + index[d]) / block - begin / block) *
				     rows->scale.stride[d];
	}
	return row;
}

/* Puts what a tile reads into dense rows of its own: where rows are a power of two apart, lines of
 * the cache would push each other out. Returns bytes from one to the next. */
static size_t pack(const struct work *work, const struct row *row, uint64_t rows, uint8_t *packed)
{
	size_t bytes = (size_t)(rows * work->width / 2), pitch = bytes + PACK_GAP_BYTES;

	for (size_t i = 0; i < row->count; i++)
		memcpy(packed + i * pitch, work->rows.in.bytes + (row->in + i * row->in_stride) / 2,
		       bytes);
	return pitch;
}

/* Is a tile of `rows` rows, of `count` elements, a matrix of bytes that only has to be transposed?
 */
static bool is_of_bytes(const struct work *work, uint64_t rows, uint64_t count)
{
	return work->rows.step->kind == WLOAD_STEP_MOVE && work->width == 2 &&
	       rows >= TRANSPOSE_BLOCK && count >= TRANSPOSE_BLOCK && rows * count <= TILE_AREA &&
	       work->rows.in.stride[work->across] == work->width &&
	       work->rows.out_stride[work->along] == work->width;
}

/* Does such a tile, by way of one that is dense: where rows of what is written are a power of two
 * apart, lines of the cache would push each other out before they are full. */
static void transpose_tile(const struct work *work, const struct row *row, uint64_t rows)
{
	uint8_t tile[TILE_AREA], *out = work->rows.out + row->out / 2;
	size_t out_pitch = work->rows.out_stride[work->across] / 2;

	transpose_bytes(work->rows.in.bytes + row->in / 2, row->in_stride / 2, row->count, rows,
			tile, row->count);
	for (size_t i = 0; i < rows; i++)
		memcpy(out + i * out_pitch, tile + i * row->count, row->count);
}

/* The tile at index[]: rows of its part of `along`, one for each of its part of `across`. */
static int run_tile(struct work *work, row_runner run, uint64_t index[WLOAD_STEP_DIMS],
		    const uint64_t tile[WLOAD_STEP_DIMS])
{
	const struct box *box = &work->rows.box;
	unsigned int along = work->along, across = work->across;
	uint64_t count = least(tile[along], box->size[along] - index[along]), first = index[across];
	uint64_t rows = across == along ? 1 : least(tile[across], box->size[across] - first);
	const uint8_t *in = work->rows.in.bytes;
	uint8_t packed[TILE * (TILE * 8 + PACK_GAP_BYTES)];
	bool packs = rows == TILE && count <= TILE && work->width > 1 &&
		     !work->rows.reduce_stride && work->rows.in.stride[across] == work->width;
	size_t pitch = 0;
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < rows; i++) {
		struct row row;

		index[across] = first + i;
		row = row_at(work, index, count);
		if (i == 0 && is_of_bytes(work, rows, count)) {
			transpose_tile(work, &row, rows);
			break;
		}
		if (packs && i == 0)
			pitch = pack(work, &row, rows, packed);
		if (packs) {
			work->rows.in.bytes = packed;
			row.in = i * work->width;
			row.in_stride = 2 * pitch;
		}
		r = run(work, &row);
	}
	work->rows.in.bytes = in;
	index[across] = first;
	return r;
}

static void choose_tile(const struct work *work, uint64_t tile[WLOAD_STEP_DIMS])
{
	const struct box *box = &work->rows.box;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		tile[d] = 1;
	tile[work->along] = box->size[work->along];
	if (work->across == work->along)
		return;
	tile[work->across] = least(TILE, box->size[work->across]);
	tile[work->along] = TILE_AREA / tile[work->across];
}

int rows_run(const struct rows *rows, struct wload_error *err)
{
	struct work work = {.rows = *rows, .width = box_in_width(rows->step), .err = err};
	row_runner run = kinds_runner(rows->step->kind);
	uint64_t index[WLOAD_STEP_DIMS] = {0}, tile[WLOAD_STEP_DIMS];
	int d = 0, r = 0;

	if (rows->step->kind == WLOAD_STEP_MOVE || rows->step->kind == WLOAD_STEP_CAST)
		merge(&work.rows);
	if (rows->step->kind == WLOAD_STEP_MOVE)
		widen(&work);
	choose_dims(&work);
	choose_tile(&work, tile);
	while (r == 0 && d >= 0) {
		r = run_tile(&work, run, index, tile);
		for (d = WLOAD_STEP_DIMS - 1; d >= 0; d--) {
			index[d] += tile[d];
			if (index[d] < work.rows.box.size[d])
				break;
			index[d] = 0;
		}
	}
	return r;
}
