/* SPDX-License-Identifier: Apache-2.0 */
/* Scales of NVFP4 in the layout that tensor cores read (cuBLAS, "1D Block Scaling Factors Layout";
 * TensorRT-LLM's block_scale_interleave): tiles of 128 rows and 4 columns, 512 bytes each, one row
 * of tiles behind the other. Of a tile
 *
 *   value (r, c)  is byte  r % 32 * 16 + r / 32 * 4 + c
 *
 * Rows are padded to 128 and columns to 4 with zeros. As a box that is 5 dimensions: row of tiles,
 * tile, row of 32, 32 rows, column. A range of rows is up to 5 boxes: it need not begin or end with
 * a tile, or with 32 rows of one. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/plan/convert.h"

#define TILE_ROWS     128
#define TILE_COLUMNS  4
#define TILE_BYTES    512
#define GROUP_ROWS    32 /* rows whose values are GROUP_BYTES apart */
#define GROUP_BYTES   16
#define BLOCK_BYTES   8 /* of a weight's row for one scale */
#define ROW_RANGES    5
#define COLUMN_RANGES 2

enum { ROW = WLOAD_STEP_DIMS - 2, COLUMN = WLOAD_STEP_DIMS - 1 };

/* Rows that are one box, or columns. */
struct range {
	uint64_t first;
	uint64_t tiles, groups, rows; /* how many; rows of a group, or columns of a tile */
};

/* One parameter's scales. */
struct scales {
	uint64_t rows, columns;		/* of an expert */
	uint64_t tiles_wide, out_bytes; /* of an expert */
};

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static unsigned int row_ranges(uint64_t first, uint64_t rows, struct range ret[ROW_RANGES])
{
	unsigned int count = 0;

	for (uint64_t end = first + rows, n; first < end; first += n) {
		uint64_t left = end - first, in_tile = first % TILE_ROWS;
		struct range *range = &ret[count++];

		*range = (struct range){.first = first, .tiles = 1, .groups = 1};
		if (in_tile == 0 && left >= TILE_ROWS) {
			range->tiles = left / TILE_ROWS;
			range->groups = TILE_ROWS / GROUP_ROWS;
		} else if (in_tile % GROUP_ROWS == 0 && left >= GROUP_ROWS) {
			range->groups = less(left, TILE_ROWS - in_tile) / GROUP_ROWS;
		}
		range->rows = less(left, GROUP_ROWS - in_tile % GROUP_ROWS);
		n = range->tiles * range->groups * range->rows;
	}
	return count;
}

static unsigned int column_ranges(uint64_t columns, struct range ret[COLUMN_RANGES])
{
	uint64_t whole = columns / TILE_COLUMNS;
	unsigned int count = 0;

	if (whole)
		ret[count++] = (struct range){0, whole, 1, TILE_COLUMNS};
	if (columns % TILE_COLUMNS)
		ret[count++] = (struct range){whole * TILE_COLUMNS, 1, 1, columns % TILE_COLUMNS};
	return count;
}

/* Where a box begins: an expert's row. */
static uint64_t first_row(const struct scales *s, const struct wload_step *box)
{
	return box->out % (s->rows * s->columns) / s->columns;
}

/* Makes a step of the rows and columns of a box that are in ranges. */
static struct wload_step tile_range(const struct scales *s, const struct wload_step *box,
				    const struct range *r, const struct range *c)
{
	/* each dimension is so many rows, or columns, of the box apart */
	const struct {
		uint64_t size, rows, columns, out;
	} dims[WLOAD_STEP_DIMS] = {
		{1, 0, 0, 0},
		{r->tiles, TILE_ROWS, 0, s->tiles_wide * TILE_BYTES},
		{c->tiles, 0, TILE_COLUMNS, TILE_BYTES},
		{r->rows, 1, 0, GROUP_BYTES},
		{r->groups, GROUP_ROWS, 0, TILE_COLUMNS},
		{c->rows, 0, 1, 1},
	};
	uint64_t in_tile = r->first % TILE_ROWS, skip = r->first - first_row(s, box),
		 expert = box->out / (s->rows * s->columns);
	struct wload_step step = *box;

	/* a weight's elements are half a byte; rows and blocks of them are whole ones */
	if (box->kind == WLOAD_STEP_MOVE)
		step.name = "swizzle";
	step.in += (skip * box->in_stride[ROW] + c->first * box->in_stride[COLUMN]) /
		   (box->kind == WLOAD_STEP_MOVE ? 1 : 2);
	step.scale += skip * box->scale_stride[ROW] + c->first * box->scale_stride[COLUMN];
	step.out = expert * s->out_bytes +
		   (r->first / TILE_ROWS * s->tiles_wide + c->first / TILE_COLUMNS) * TILE_BYTES +
		   in_tile % GROUP_ROWS * GROUP_BYTES + in_tile / GROUP_ROWS * TILE_COLUMNS;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		step.size[d] = dims[d].size;
		step.out_stride[d] = dims[d].out;
		step.in_stride[d] = dims[d].rows * box->in_stride[ROW] +
				    dims[d].columns * box->in_stride[COLUMN];
		step.scale_stride[d] = dims[d].rows * box->scale_stride[ROW] +
				       dims[d].columns * box->scale_stride[COLUMN];
	}
	return step;
}

/* How many steps a box is, tiled; they are written where `to` is not NULL. */
static unsigned int tile(const struct scales *s, const struct wload_step *box,
			 struct wload_step *to)
{
	struct range rows[ROW_RANGES], columns[COLUMN_RANGES];
	unsigned int row_count = row_ranges(first_row(s, box), box->size[ROW], rows),
		     column_count = column_ranges(s->columns, columns);

	for (unsigned int i = 0; to && i < row_count; i++)
		for (unsigned int j = 0; j < column_count; j++)
			*to++ = tile_range(s, box, &rows[i], &columns[j]);
	return row_count * column_count;
}

/* Whether a box is whole rows, one behind the other as the parameter has them. */
static bool is_rows(const struct scales *s, const struct wload_step *box)
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		if (box->begin[d] || box->block[d] != 1 || (d < ROW && box->size[d] != 1))
			return false;
	return (box->kind == WLOAD_STEP_MOVE || box->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE) &&
	       box->to == WLOAD_DTYPE_F8_E4M3 && box->size[COLUMN] == s->columns &&
	       box->out_stride[COLUMN] == 1 &&
	       (box->size[ROW] == 1 || box->out_stride[ROW] == s->columns) &&
	       box->out % s->columns == 0;
}

static int by_out(const void *left, const void *right)
{
	const struct wload_step *a = left, *b = right;

	return a->out < b->out ? -1 : a->out > b->out;
}

/* The shape that scales have: whole tiles. */
static int pad_shape(struct convert *c, struct wload_param *p, struct scales *s,
		     struct wload_error *err)
{
	uint64_t *shape = arena_take(&c->plan->arena, p->rank * sizeof(*shape)), *rows, *columns;

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, p->shape, p->rank * sizeof(*shape));
	rows = &shape[p->rank - 2];
	columns = &shape[p->rank - 1];
	s->rows = *rows;
	s->columns = *columns;
	/* the bytes of one row were counted in 64 bits, and those of all */
	*columns = (*columns + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
	*rows = (*rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
	s->tiles_wide = *columns / TILE_COLUMNS;
	if (!checked_mul(*rows, *columns, &s->out_bytes) ||
	    !checked_mul(s->out_bytes, p->bytes / (s->rows * s->columns), &p->bytes))
		return wload_fail(err, E2BIG, "'%.*s' takes over 2^64 bytes", DRAFT_SHOW(p->name));
	p->zeroed = *rows != s->rows || *columns != s->columns;
	p->shape = shape;
	return 0;
}

/* A stack's parts follow each other, so where nothing is done to them an expert is one box. */
static int boxes_of(struct convert *c, uint32_t index, struct wload_step **ret_boxes,
		    uint32_t *ret_count, struct wload_error *err)
{
	const struct wload_param *p = &c->plan->params[index];
	struct draft_join whole = {.parts = 1, .experts = p->rank > 2};
	const struct laid laid = {.join = &whole};

	return staging_boxes(&c->scratch, p, &laid, false, ret_boxes, ret_count, err);
}

static int swizzle(struct convert *c, uint32_t index, struct wload_error *err)
{
	struct wload_param *p = &c->plan->params[index];
	const struct wload_param *operand = p;
	struct wload_step *boxes, *steps;
	struct staging staging;
	struct scales s;
	uint32_t count, total = 0;
	int r = boxes_of(c, index, &boxes, &count, err);

	if (r == 0)
		r = staging_lay(&c->plan->arena, &operand, 1, &staging, err);
	if (r == 0)
		r = pad_shape(c, p, &s, err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		if (!is_rows(&s, &boxes[i]))
			return convert_fail(p, "swizzled", err, "it is made by '%s'",
					    boxes[i].name);
		total += tile(&s, &boxes[i], NULL);
	}
	if (r < 0)
		return r;
	steps = arena_take(&c->plan->arena, total * sizeof(*steps));
	if (!steps)
		return wload_fail(err, ENOMEM, "out of memory");
	total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += tile(&s, &boxes[i], steps + total);
	qsort(steps, total, sizeof(*steps), by_out);
	staging_use(p, &staging, steps, total);
	return 0;
}

int convert_swizzle(struct convert *c, struct wload_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->plan->count; i++) {
		const struct wload_param *w = &c->plan->params[i], *p;
		uint32_t scale;

		if (w->dtype != WLOAD_DTYPE_U8 || c->states[i] != CONVERT_STAYS)
			continue;
		scale = convert_scales_of(c, w->name).scale;
		if (scale == BY_NAME_NONE)
			continue;
		p = &c->plan->params[scale];
		if (p->dtype == WLOAD_DTYPE_F8_E4M3 && p->rank >= 2 && p->rank == w->rank &&
		    p->bytes && w->shape[w->rank - 1] / BLOCK_BYTES == p->shape[p->rank - 1])
			r = swizzle(c, scale, err);
	}
	return r;
}
