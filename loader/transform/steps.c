/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/transform/floats.h"
#include "loader/transform/steps.h"

#define GROUP	  16
#define F32_BYTES 4

bool steps_scaled(enum wload_step_kind kind)
{
	switch (kind) {
	case WLOAD_STEP_MOVE:
	case WLOAD_STEP_CAST:
	case WLOAD_STEP_MAX:
	case WLOAD_STEP_EQUAL:
		return false;
	default:
		return true;
	}
}

struct steps_values steps_values(const struct wload_step *step)
{
	struct steps_values values = {.own_at = step->scale_2,
				      .all_stride = step->reduce_stride * F32_BYTES};

	switch (step->kind) {
	case WLOAD_STEP_DEQUANTISE_NVFP4:
		values.own = true;
		break;
	case WLOAD_STEP_REQUANTISE_FP8:
		values.all_count = step->reduce;
		values.all_at = step->scale_2;
		break;
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		values.own = true;
		values.all_count = step->reduce;
		values.all_at = step->all_scale_2;
		break;
	default:
		break;
	}
	return values;
}

/* What each element of a kind needs several of, in a dimension of its own. */
static void add_inner(const struct wload_step *step, struct grid *grid)
{
	grid->size[WLOAD_STEP_DIMS] = 1;
	if (step->kind == WLOAD_STEP_MAX || step->kind == WLOAD_STEP_EQUAL) {
		grid->size[WLOAD_STEP_DIMS] = step->reduce;
		grid->stride[WLOAD_STEP_DIMS] = step->reduce_stride * grid->width;
	} else if (step->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE) {
		grid->size[WLOAD_STEP_DIMS] = GROUP;
		grid->stride[WLOAD_STEP_DIMS] = 1;
	}
}

struct grid steps_grid(const struct wload_step *step, const struct box *box, uint64_t *ret_before)
{
	struct grid grid = {.width = box_in_width(step), .first = 2 * step->in};

	*ret_before = 0;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		uint64_t begin = box->begin[d], end = begin + box->size[d];

		if (step->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT && d == box_group_dim(step)) {
			*ret_before = begin % GROUP;
			begin -= *ret_before;
			end = (end + GROUP - 1) / GROUP * GROUP;
		}
		grid.size[d] = end - begin;
		grid.stride[d] = step->in_stride[d] * grid.width;
		grid.first += begin * grid.stride[d];
	}
	add_inner(step, &grid);
	return grid;
}

struct grid steps_scale_grid(const struct wload_step *step, const struct box *box)
{
	unsigned int width = wload_dtype_describe(box_scale_dtype(step))->bits / 4;
	struct grid grid = {.width = width, .first = 2 * step->scale};

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		uint64_t block = step->block[d] ? step->block[d] : 1;
		uint64_t begin = box->begin[d] / block;

		grid.size[d] = (box->begin[d] + box->size[d] - 1) / block - begin + 1;
		grid.stride[d] = step->scale_stride[d] * width;
		grid.first += begin * grid.stride[d];
	}
	grid.size[WLOAD_STEP_DIMS] = 1;
	return grid;
}

void steps_out_strides(const struct wload_step *step, uint64_t ret_strides[WLOAD_STEP_DIMS])
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		ret_strides[d] = step->out_stride[d] * box_out_width(step);
}

uint64_t steps_out(const struct wload_step *step, const struct box *box)
{
	uint64_t at = 2 * step->out;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		at += box->begin[d] * step->out_stride[d] * box_out_width(step);
	return at;
}

static struct operand operand_of(const struct grid *grid, const uint8_t *staged)
{
	struct operand operand = {.bytes = staged, .first = grid->first};

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		operand.stride[d] = grid->stride[d];
	return operand;
}

void steps_in_memory(const struct wload_step *step, const uint8_t *staged, struct rows *rows)
{
	struct steps_values values = steps_values(step);
	uint64_t before;
	struct grid grid = steps_grid(step, &rows->box, &before);

	rows->in = operand_of(&grid, staged);
	rows->reduce_stride = grid.stride[WLOAD_STEP_DIMS];
	if (before)
		rows->in.first += before * grid.stride[box_group_dim(step)];
	if (steps_scaled(step->kind)) {
		grid = steps_scale_grid(step, &rows->box);
		rows->scale = operand_of(&grid, staged);
	}
	if (values.own)
		rows->scale_2 = floats_value(WLOAD_DTYPE_F32, staged + values.own_at);
	if (values.all_count)
		rows->largest = rows_largest(WLOAD_DTYPE_F32, staged + values.all_at,
					     values.all_stride, values.all_count);
}

int steps_fail(const struct wload_param *param, const struct wload_step *step,
	       const struct wload_error *why, struct wload_error *err)
{
	return wload_fail(err, why->code, "parameter '%s', step '%s': %s", param->name, step->name,
			  why->text);
}
