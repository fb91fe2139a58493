/* SPDX-License-Identifier: Apache-2.0 */
/* One function a kind, or for several: moved are bytes, numbers go by way of a row of floats, what
 * has few values by a map of them all. The table is at the end. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/transform/floats.h"
#include "loader/transform/kinds.h"

#define CHUNK 512 /* values at a time: in the nearest cache as well */
#define GROUP 16  /* elements that share a scale of NVFP4 */

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

/* The runs of a row's elements that share a scale. */
struct run {
	size_t begin, count;
	uint64_t scale; /* where that is */
};

static struct run first_run(const struct row *row)
{
	uint64_t rest = row->block - row->begin % row->block;

	return (struct run){0, rest < row->count ? (size_t)rest : row->count, row->scale};
}

/* Goes to the next one. Returns false behind the last. */
static bool next_run(const struct row *row, struct run *run)
{
	size_t rest;

	run->begin += run->count;
	run->scale += row->scale_stride;
	rest = row->count - run->begin;
	run->count = row->block < rest ? (size_t)row->block : rest;
	return rest > 0;
}

static void multiply_run(float *values, size_t count, float scale)
{
	for (size_t i = 0; i < count; i++)
		values[i] *= scale;
}

/* A row of at most CHUNK elements. */
static void multiply(const struct rows *rows, const struct row *row, float *values)
{
	struct run run = first_run(row);
	size_t runs = 1 + (size_t)((row->count - run.count + row->block - 1) / row->block);
	float scales[CHUNK], *scale = scales;

	floats_read(box_scale_dtype(rows->step), rows->scale.bytes, row->scale, row->scale_stride,
		    runs, scales);
	if (rows->step->kind == WLOAD_STEP_DEQUANTISE_NVFP4)
		multiply_run(scales, runs, rows->scale_2);
	do {
		if (run.count == GROUP) /* loops of a known length are a few instructions */
			multiply_run(values + run.begin, GROUP, *scale++);
		else
			multiply_run(values + run.begin, run.count, *scale++);
	} while (next_run(row, &run));
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

	uint64_t in_stride = row->in_stride / 2, out_stride = row->out_stride / 2;
	struct run run = first_run(row);

	do {
		const uint8_t *in = rows->in.bytes + row->in / 2 + run.begin * in_stride;
		uint8_t *out = rows->out + row->out / 2 + run.begin * out_stride;

		map_for(work, floats_value(WLOAD_DTYPE_F32, rows->scale.bytes + run.scale / 2));
		for (size_t i = 0; i < run.count; i++)
			out[i * out_stride] = work->map[in[i * in_stride]];
	} while (next_run(row, &run));
	return 0;
}

/* The new scale of a group whose first element is at `in`. */
static uint8_t group_scale(const struct rows *rows, uint64_t in, uint64_t in_stride, uint64_t scale)
{
	float by = f8e4m3_values[rows->scale.bytes[scale / 2]] * rows->scale_2;
	float values[GROUP];
	int32_t most = 0;

	floats_read(WLOAD_DTYPE_F4, rows->in.bytes, in, in_stride, GROUP, values);
	for (unsigned int i = 0; i < GROUP; i++) {
		int32_t size = (int32_t)(f32_bits(values[i] * by) & 0x7fffffff);

		most = size > most ? size : most; /* bits are ordered as numbers are, NaN last */
	}
	return f8e4m3_round(f32_from_bits((uint32_t)most) / 6.0f / rows->largest);
}

static uint8_t get_half(const uint8_t *bytes, uint64_t at)
{
	return at & 1 ? bytes[at / 2] >> 4 : bytes[at / 2] & 15;
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
	float by = f8e4m3_values[rows->scale.bytes[scale / 2]] * rows->scale_2;
	float to = f8e4m3_values[group_scale(rows, in, row->in_stride, scale)];
	uint8_t map[16];

	to *= rows->largest;
	for (uint8_t half = 0; half < 16; half++)
		map[half] = to == 0 ? 0 : e2m1_round(e2m1_value(half) * by / to);
	if (from == 0 && end == GROUP && in % 2 == 0 && out % 2 == 0 && row->in_stride == 1 &&
	    row->out_stride == 1) {
		for (unsigned int i = 0; i < GROUP / 2; i++) {
			uint8_t two = rows->in.bytes[in / 2 + i];

			rows->out[out / 2 + i] = (uint8_t)(map[two >> 4] << 4 | map[two & 15]);
		}
		return;
	}
	for (unsigned int i = from; i < end; i++) {
		uint8_t half = get_half(rows->in.bytes, in + i * row->in_stride);

		put_half(rows->out, out + (i - from) * row->out_stride, map[half]);
	}
}

static void copy_halves(const struct rows *rows, const struct row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		uint8_t half = get_half(rows->in.bytes, row->in + i * row->in_stride);

		put_half(rows->out, row->out + i * row->out_stride, half);
	}
}

static int requantise_weight_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;
	struct run run = first_run(row);

	if (rows->scale_2 == rows->largest) {
		copy_halves(rows, row);
		return 0;
	}
	do {
		unsigned int from = (unsigned int)((row->begin + run.begin) % GROUP);

		requantise_group(rows, row, row->in + (run.begin - from) * row->in_stride,
				 run.scale, from, from + (unsigned int)run.count,
				 row->out + run.begin * row->out_stride);
	} while (next_run(row, &run));
	return 0;
}

static int requantise_scale_row(struct work *work, const struct row *row)
{
	const struct rows *rows = &work->rows;
	struct run run = first_run(row);

	do {
		for (size_t i = run.begin; i < run.begin + run.count; i++) {
			uint8_t *out = &rows->out[(row->out + i * row->out_stride) / 2];

			*out = rows->scale_2 == rows->largest
				       ? rows->scale.bytes[run.scale / 2]
				       : group_scale(rows, row->in + i * row->in_stride, 1,
						     run.scale);
		}
	} while (next_run(row, &run));
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

row_runner kinds_runner(enum wload_step_kind kind)
{
	assert(kind < sizeof(runners) / sizeof(runners[0]));
	return runners[kind];
}
