/* SPDX-License-Identifier: Apache-2.0 */
/* A box is done row by row: along the dimension in which what is written lies closest. Where what
 * is read lies closest along another, rows are cut into tiles that stay in the nearest cache, so
 * that each line of it is fetched once:
 *
 *   in            out
 *   [a b c]       [a d]      along: down in `in`, to the right in `out`
 *   [d e f]  -->  [b e]      across: to the right in `in`
 *                 [c f]
 *
 * What a row is, the kind says: one function each, in the table at the end. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/transform/floats.h"
#include "loader/transform/rows.h"

#define CHUNK	  512 /* values at a time: in the nearest cache as well */
#define TILE	  64
#define TILE_AREA (TILE * TILE)
#define GROUP	  16 /* elements that share a scale of NVFP4 */

/* What lasts from row to row. */
struct work {
	struct rows rows;
	unsigned int width; /* halves of bytes of what is moved at once */
	unsigned int along, across;
	bool mapped;
	float map_scale;
	uint8_t map[256]; /* of each F8_E4M3, at map_scale */
	struct wload_error *err;
};

struct row {
	uint64_t in, out, scale; /* where its first element, and its scale, are */
	uint64_t in_stride, out_stride, scale_stride;
	uint64_t begin; /* index of the first element */
	uint64_t block;
	size_t count;
};

typedef int (*row_runner)(struct work *work, const struct row *row);

#define MOVE_ROW(bytes, type)                                                         \
	static void move_##bytes(const uint8_t *in, uint64_t in_stride, uint8_t *out, \
				 uint64_t out_stride, size_t count)                   \
	{                                                                             \
		for (size_t i = 0; i < count; i++) {                                  \
			type element;                                                 \
			memcpy(&element, in + i * in_stride, bytes);                  \
			memcpy(out + i * out_stride, &element, bytes);                \
		}                                                                     \
	}

MOVE_ROW(1, uint8_t)
MOVE_ROW(2, uint16_t)
MOVE_ROW(4, uint32_t)
MOVE_ROW(8, uint64_t)

static int move_row(struct work *work, const struct row *row)
{
	const uint8_t *in = work->rows.in.bytes + row->in / 2;
	uint8_t *out = work->rows.out + row->out / 2;
	uint64_t in_stride = row->in_stride / 2, out_stride = row->out_stride / 2;
	size_t bytes = work->width / 2;

	if ((in_stride == bytes && out_stride == bytes) || row->count == 1)
		memcpy(out, in, row->count * bytes);
	else if (bytes == 1)
		move_1(in, in_stride, out, out_stride, row->count);
	else if (bytes == 2)
		move_2(in, in_stride, out, out_stride, row->count);
	else if (bytes == 4)
		move_4(in, in_stride, out, out_stride, row->count);
	else
		move_8(in, in_stride, out, out_stride, row->count);
	return 0;
}

/* The part of a row from its first element on that has one scale, and where that is. */
static size_t scale_run(const struct row *row, size_t done, uint64_t *ret_scale)
{
	uint64_t index = row->begin + done;
	uint64_t rest = row->block - index % row->block;

	*ret_scale =
		row->scale + (index / row->block - row->begin / row->block) * row->scale_stride;
	return rest < row->count - done ? (size_t)rest : row->count - done;
}

static float scale_of(const struct rows *rows, uint64_t scale)
{
	float value = floats_value(box_scale_dtype(rows->step), rows->scale.bytes + scale / 2);

	return rows->step->kind == WLOAD_STEP_DEQUANTISE_NVFP4 ? value * rows->scale_2 : value;
}

static void multiply(const struct rows *rows, const struct row *row, float *values)
{
	for (size_t done = 0; done < row->count;) {
		uint64_t at;
		size_t run = scale_run(row, done, &at);
		float scale = scale_of(rows, at);

		for (size_t i = done; i < done + run; i++)
			values[i] *= scale;
		done += run;
	}
}

/* Values read, multiplied where they have scales, rounded. */
static int value_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;
	const struct wload_step *step = rows->step;
	bool halves = step->kind == WLOAD_STEP_DEQUANTISE_NVFP4 ||
		      step->kind == WLOAD_STEP_DEQUANTISE_MXFP4;
	enum wload_dtype from = halves ? WLOAD_DTYPE_F4 : step->from;
	float values[CHUNK];

	for (size_t done = 0; done < row->count; done += CHUNK) {
		struct row part = *row;

		part.begin += done;
		part.count = row->count - done < CHUNK ? row->count - done : CHUNK;
		part.in += done * row->in_stride;
		part.out += done * row->out_stride;
		part.scale +=
			(part.begin / row->block - row->begin / row->block) * row->scale_stride;
		floats_read(from, rows->in.bytes, part.in, part.in_stride, part.count, values);
		if (step->kind != WLOAD_STEP_CAST)
			multiply(rows, &part, values);
		floats_write(step->to, values, part.count, rows->out, part.out, part.out_stride);
	}
	return 0;
}

/* What each F8_E4M3 becomes depends on the scale alone, which most often is one for all. */
static void map_for(struct work *work, float scale)
{
	if (work->mapped && f32_bits(work->map_scale) == f32_bits(scale))
		return;
	for (unsigned int x = 0; x < 256; x++)
		work->map[x] =
			scale == work->rows.largest
				? (uint8_t)x
				: f8e4m3_round(f8e4m3_values[x] * scale / work->rows.largest);
	work->map_scale = scale;
	work->mapped = true;
}

static int requantise_fp8_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;

	for (size_t done = 0; done < row->count;) {
		uint64_t at;
		size_t run = scale_run(row, done, &at);

		map_for(work, scale_of(rows, at));
		for (size_t i = done; i < done + run; i++)
			rows->out[(row->out + i * row->out_stride) / 2] =
				work->map[rows->in.bytes[(row->in + i * row->in_stride) / 2]];
		done += run;
	}
	return 0;
}

/* The values of a group whose first element is at `in`; returns its new scale. */
static uint8_t group_values(const struct rows *rows, uint64_t in, uint64_t in_stride,
			    uint64_t scale, float values[GROUP])
{
	float by = f8e4m3_values[rows->scale.bytes[scale / 2]] * rows->scale_2, most = 0;

	floats_read(WLOAD_DTYPE_F4, rows->in.bytes, in, in_stride, GROUP, values);
	for (unsigned int i = 0; i < GROUP; i++) {
		float size;

		values[i] *= by;
		size = values[i] < 0 ? -values[i] : values[i];
		most = size > most || size != size ? size : most;
	}
	return f8e4m3_round(most / 6.0f / rows->largest);
}

static void put_half(uint8_t *bytes, uint64_t at, uint8_t half)
{
	uint8_t *byte = &bytes[at / 2];

	*byte = at & 1 ? (uint8_t)((*byte & 0x0f) | half << 4) : (uint8_t)((*byte & 0xf0) | half);
}

/* Elements [from, end) of a group, whose first element is at `in`; to `out` on. */
static void requantise_group(const struct rows *rows, const struct row *row, uint64_t in,
			     uint64_t scale, unsigned int from, unsigned int end, uint64_t out)
{
	float values[GROUP], by;
	uint8_t new_scale = group_values(rows, in, row->in_stride, scale, values);

	by = f8e4m3_values[new_scale] * rows->largest;
	for (unsigned int i = from; i < end; i++) {
		uint8_t half = by == 0 ? 0 : e2m1_round(values[i] / by);

		put_half(rows->out, out + (i - from) * row->out_stride, half);
	}
}

static void copy_halves(const struct rows *rows, const struct row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		uint64_t in = row->in + i * row->in_stride;
		uint8_t byte = rows->in.bytes[in / 2];

		put_half(rows->out, row->out + i * row->out_stride, in & 1 ? byte >> 4 : byte & 15);
	}
}

static int requantise_weight_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;

	if (rows->scale_2 == rows->largest) {
		copy_halves(rows, row);
		return 0;
	}
	for (size_t done = 0; done < row->count;) {
		uint64_t scale;
		size_t run = scale_run(row, done, &scale);
		unsigned int from = (unsigned int)((row->begin + done) % GROUP);

		requantise_group(rows, row, row->in + (done - from) * row->in_stride, scale, from,
				 from + (unsigned int)run, row->out + done * row->out_stride);
		done += run;
	}
	return 0;
}

static int requantise_scale_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;

	for (size_t i = 0; i < row->count; i++) {
		uint8_t *out = &rows->out[(row->out + i * row->out_stride) / 2];
		float values[GROUP];
		uint64_t scale;

		(void)scale_run(row, i, &scale);
		*out = rows->scale_2 == rows->largest
			       ? rows->scale.bytes[scale / 2]
			       : group_values(rows, row->in + i * row->in_stride, 1, scale, values);
	}
	return 0;
}

float rows_largest(enum wload_dtype dtype, const uint8_t *first, uint64_t stride_bytes,
		   uint64_t count)
{
	float largest = floats_value(dtype, first);

	for (uint64_t i = 1; i < count; i++) {
		float value = floats_value(dtype, first + i * stride_bytes);

		largest = value > largest || value != value ? value : largest;
	}
	return largest;
}

static int max_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;
	const struct wload_step *step = rows->step;

	for (size_t i = 0; i < row->count; i++) {
		float most = rows_largest(step->from,
					  rows->in.bytes + (row->in + i * row->in_stride) / 2,
					  rows->reduce_stride / 2, step->reduce);

		floats_write(step->to, &most, 1, rows->out, row->out + i * row->out_stride, 0);
	}
	return 0;
}

static int equal_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;
	size_t bytes = work->width / 2;

	for (size_t i = 0; i < row->count; i++) {
		const uint8_t *first = rows->in.bytes + (row->in + i * row->in_stride) / 2;

		for (uint64_t k = 1; k < rows->step->reduce; k++)
			if (memcmp(first, first + k * (rows->reduce_stride / 2), bytes) != 0)
				return wload_fail(work->err, EBADMSG,
						  "value %" PRIu64 " of %" PRIu64
						  " is not as the first, and all must be equal",
						  k + 1, rows->step->reduce);
		memcpy(rows->out + (row->out + i * row->out_stride) / 2, first, bytes);
	}
	return 0;
}

static const row_runner runners[] = {
	[WLOAD_STEP_MOVE] = move_row,
	[WLOAD_STEP_CAST] = value_row,
	[WLOAD_STEP_DEQUANTISE_FP8] = value_row,
	[WLOAD_STEP_DEQUANTISE_NVFP4] = value_row,
	[WLOAD_STEP_DEQUANTISE_MXFP4] = value_row,
	[WLOAD_STEP_REQUANTISE_FP8] = requantise_fp8_row,
	[WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT] = requantise_weight_row,
	[WLOAD_STEP_REQUANTISE_NVFP4_SCALE] = requantise_scale_row,
	[WLOAD_STEP_MAX] = max_row,
	[WLOAD_STEP_EQUAL] = equal_row,
};

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
			  .block = step->block[along] ? step->block[along] : 1,
			  .count = count};

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

/* The tile at index[]: rows of its part of `along`, one for each of its part of `across`. */
static int run_tile(struct work *work, row_runner run, uint64_t index[WLOAD_STEP_DIMS],
		    const uint64_t tile[WLOAD_STEP_DIMS])
{
	const struct box *box = &work->rows.box;
	unsigned int along = work->along, across = work->across;
	uint64_t count = least(tile[along], box->size[along] - index[along]), first = index[across];
	uint64_t rows = across == along ? 1 : least(tile[across], box->size[across] - first);
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < rows; i++) {
		struct row row;

		index[across] = first + i;
		row = row_at(work, index, count);
		r = run(work, &row);
	}
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
	row_runner run = runners[rows->step->kind];
	uint64_t index[WLOAD_STEP_DIMS] = {0}, tile[WLOAD_STEP_DIMS];
	int d = 0, r = 0;

	assert(rows->step->kind < sizeof(runners) / sizeof(runners[0]));
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
