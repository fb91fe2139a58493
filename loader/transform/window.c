/* SPDX-License-Identifier: Apache-2.0 */
/* Making some bytes of a parameter: each step is narrowed to the boxes of indexes that make them,
 * and those are cut until what a box reads fits a slab. Read are the pieces that it lies in. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/transform/floats.h"
#include "loader/transform/steps.h"

#define SLAB_BYTES ((uint64_t)1 << 20)

struct window {
	const struct wload_param *param;
	uint64_t lo, hi;
	transform_reader read;
	void *ctx;
	uint8_t *out;
	struct wload_error *err;

	uint8_t *buf;
	size_t buf_bytes;

	const struct wload_step *step;
	bool valued; /* the step's single values were read: */
	float scale_2, largest;
};

static int make_room(struct window *w, uint64_t bytes)
{
	uint8_t *buf;

	if (bytes <= w->buf_bytes)
		return 0;
	buf = malloc(bytes);
	if (!buf)
		return wload_fail(w->err, ENOMEM, "no memory for %llu staged bytes of '%s'",
				  (unsigned long long)bytes, w->param->name);
	free(w->buf);
	w->buf = buf;
	w->buf_bytes = bytes;
	return 0;
}

static int read_values(struct window *w)
{
	struct steps_values values = steps_values(w->step);
	int r = make_room(w, (values.all_count + 1) * sizeof(float));

	if (r == 0 && values.own) {
		r = w->read(w->ctx, values.own_at, sizeof(float), 1, 0, w->buf, w->err);
		if (r == 0)
			w->scale_2 = floats_value(WLOAD_DTYPE_F32, w->buf);
	}
	if (r == 0 && values.all_count) {
		r = w->read(w->ctx, values.all_at, sizeof(float), values.all_count,
			    values.all_stride, w->buf, w->err);
		if (r == 0)
			w->largest = rows_largest(WLOAD_DTYPE_F32, w->buf, sizeof(float),
						  values.all_count);
	}
	w->valued = true;
	return r;
}

static struct operand operand_of(const struct pieces *pieces, const uint8_t *fetched)
{
	struct operand operand = {.bytes = fetched, .first = pieces->at};

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		operand.stride[d] = pieces->fetched[d];
	return operand;
}

/* Runs a box whose pieces were planned; of one element that the window has a part of, that. */
static int run_box(struct window *w, const struct box *box, bool part, const struct pieces *in,
		   uint64_t before, const struct pieces *scale)
{
	struct rows rows = {.step = w->step,
			    .box = *box,
			    .scale_2 = w->scale_2,
			    .largest = w->largest,
			    .out = w->out};
	uint64_t place = steps_out(w->step, box);
	uint8_t element[8] = {0};
	struct wload_error why = {0};
	int r = make_room(w, in->bytes + scale->bytes);

	if (r == 0)
		r = pieces_fetch(in, w->read, w->ctx, w->buf, w->err);
	if (r == 0 && scale->bytes)
		r = pieces_fetch(scale, w->read, w->ctx, w->buf + in->bytes, w->err);
	if (r < 0)
		return r;
	rows.in = operand_of(in, w->buf);
	rows.reduce_stride = in->fetched[WLOAD_STEP_DIMS];
	if (before)
		rows.in.first += before * in->fetched[box_group_dim(w->step)];
	rows.scale = operand_of(scale, w->buf + in->bytes);
	steps_out_strides(w->step, rows.out_stride);
	rows.out_first = place - 2 * w->lo;
	if (part) {
		rows.out = element;
		rows.out_first = 0;
	}
	r = rows_run(&rows, &why);
	if (r < 0)
		return steps_fail(w->param, w->step, &why, w->err);
	for (uint64_t i = 0; part && i < box_out_width(w->step) / 2; i++)
		if (place / 2 + i >= w->lo && place / 2 + i < w->hi)
			w->out[place / 2 + i - w->lo] = element[i];
	return 0;
}

/* Where to cut a box: its indexes that lie farthest apart in what it reads. */
static unsigned int cut_dim(const struct wload_step *step, const struct box *box)
{
	unsigned int best = 0;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		if (box->size[d] > 1 &&
		    (box->size[best] == 1 || step->in_stride[d] > step->in_stride[best]))
			best = d;
	return best;
}

static int visit(void *ctx, const struct box *box, bool part)
{
	struct window *w = ctx;
	unsigned int d = cut_dim(w->step, box);
	struct pieces in, scale = {0};
	uint64_t before;
	struct grid grid = steps_grid(w->step, box, &before);
	int r = w->valued ? 0 : read_values(w);

	if (r < 0)
		return r;
	pieces_plan(&grid, &in);
	if (steps_scaled(w->step->kind)) {
		grid = steps_scale_grid(w->step, box);
		pieces_plan(&grid, &scale);
	}
	if (in.bytes + scale.bytes > SLAB_BYTES && box->size[d] > 1) {
		struct box half = *box;

		half.size[d] = box->size[d] / 2;
		r = visit(w, &half, part);
		half.begin[d] += half.size[d];
		half.size[d] = box->size[d] - half.size[d];
		return r < 0 ? r : visit(w, &half, part);
	}
	return run_box(w, box, part, &in, before, &scale);
}

int transform_window(const struct wload_param *param, uint64_t lo, uint64_t hi,
		     transform_reader read, void *ctx, uint8_t *out, struct wload_error *err)
{
	struct window w = {.param = param,
			   .lo = lo,
			   .hi = hi,
			   .read = read,
			   .ctx = ctx,
			   .out = out,
			   .err = err};
	uint8_t *buf CLEANUP_FREE = NULL;
	int r = 0;

	if (param->zeroed)
		memset(out, 0, hi - lo);
	for (uint32_t s = 0; r == 0 && s < param->step_count; s++) {
		struct box box = box_of(&param->steps[s]);

		w.step = &param->steps[s];
		w.valued = false;
		r = box_narrow(w.step, &box, lo, hi, visit, &w);
	}
	buf = w.buf;
	return r;
}
