/* SPDX-License-Identifier: Apache-2.0 */
/* Narrowing goes dimension by dimension, the one of the largest stride first. Of its indexes some
 * reach into the window with all that is under them: they are one box. Those at either end may do
 * so in part: each is narrowed in the next dimension.
 *
 *   window         [------------------------)
 *   index     0        1        2        3        4
 *           [....] [....[.] [......] [......] [..)...]
 *                    next      one box         next                                           */

#include <assert.h>

#include "loader/transform/box.h"

struct narrowing {
	uint64_t lo, hi; /* the window */
	unsigned int width;
	uint64_t stride[WLOAD_STEP_DIMS];
	uint64_t span[WLOAD_STEP_DIMS + 1]; /* from the first byte to the end of the last, of what
					     * one index of the dimension before has under it */
	box_visitor visit;
	void *ctx;
};

static unsigned int halves(enum wload_dtype dtype)
{
	return wload_dtype_describe(dtype)->bits / 4;
}

unsigned int box_in_width(const struct wload_step *step)
{
	switch (step->kind) {
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		return 1;
	default:
		return halves(step->from);
	}
}

unsigned int box_out_width(const struct wload_step *step)
{
	return step->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT ? 1 : halves(step->to);
}

enum wload_dtype box_scale_dtype(const struct wload_step *step)
{
	switch (step->kind) {
	case WLOAD_STEP_DEQUANTISE_FP8:
		return step->scale_dtype;
	case WLOAD_STEP_DEQUANTISE_MXFP4:
		return WLOAD_DTYPE_F8_E8M0;
	case WLOAD_STEP_REQUANTISE_FP8:
		return WLOAD_DTYPE_F32;
	default:
		return WLOAD_DTYPE_F8_E4M3;
	}
}

struct box box_of(const struct wload_step *step)
{
	struct box box;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		box.begin[d] = step->begin[d];
		box.size[d] = step->size[d];
	}
	return box;
}

bool box_empty(const struct box *box)
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		if (box->size[d] == 0)
			return true;
	return false;
}

unsigned int box_group_dim(const struct wload_step *step)
{
	unsigned int d = WLOAD_STEP_DIMS - 1;

	while (d > 0 && step->block[d] != 16)
		d--;
	return d;
}

/* Of one dimension's indexes, counted from its first: [touch, touch_end) reach into the window, of
 * these [inside, inside_end) with all that is under them. */
struct reach {
	uint64_t touch, touch_end, inside, inside_end;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct reach reach_of(const struct narrowing *n, uint64_t at, uint64_t stride, uint64_t span,
			     uint64_t size)
{
	struct reach r = {0};

	if (at + span <= n->lo)
		r.touch = (n->lo - at - span) / stride + 1;
	if (at < n->hi)
		r.touch_end = least(size, (n->hi - at - 1) / stride + 1);
	if (at < n->lo)
		r.inside = (n->lo - at - 1) / stride + 1;
	if (at + span <= n->hi)
		r.inside_end = least(size, (n->hi - at - span) / stride + 1);
	if (r.inside >= r.inside_end) /* none: those that touch are all on one side */
		r.inside = r.inside_end = r.touch_end;
	return r;
}

static int narrow(const struct narrowing *n, struct box box, unsigned int d, uint64_t at);

/* Indexes [from, end) of dimension d, each by itself. */
static int narrow_each(const struct narrowing *n, const struct box *box, unsigned int d,
		       uint64_t at, uint64_t from, uint64_t end)
{
	struct box one = *box;
	int r = 0;

	one.size[d] = 1;
	for (uint64_t i = from; r == 0 && i < end; i++) {
		one.begin[d] = box->begin[d] + i;
		r = narrow(n, one, d + 1, at + i * n->stride[d]);
	}
	return r;
}

/* A box whose first element is at `at`, its dimensions before d narrowed to one index. */
static int narrow(const struct narrowing *n, struct box box, unsigned int d, uint64_t at)
{
	struct reach reach;
	int r;

	while (d < WLOAD_STEP_DIMS && box.size[d] == 1)
		d++;
	if (d == WLOAD_STEP_DIMS) {
		bool part = at < n->lo || at + n->width > n->hi;

		return at < n->hi && at + n->width > n->lo ? n->visit(n->ctx, &box, part) : 0;
	}
	reach = reach_of(n, at, n->stride[d], n->span[d + 1], box.size[d]);
	r = narrow_each(n, &box, d, at, reach.touch, least(reach.inside, reach.touch_end));
	if (r == 0 && reach.inside < reach.inside_end) {
		struct box inside = box;

		inside.begin[d] += reach.inside;
		inside.size[d] = reach.inside_end - reach.inside;
		r = n->visit(n->ctx, &inside, false);
	}
	return r ? r : narrow_each(n, &box, d, at, reach.inside_end, reach.touch_end);
}

int box_narrow(const struct wload_step *step, const struct box *box, uint64_t lo, uint64_t hi,
	       box_visitor visit, void *ctx)
{
	struct narrowing n = {.lo = 2 * lo,
			      .hi = 2 * hi,
			      .width = box_out_width(step),
			      .visit = visit,
			      .ctx = ctx};
	uint64_t at = 2 * step->out;

	if (box_empty(box))
		return 0;
	n.span[WLOAD_STEP_DIMS] = n.width;
	for (unsigned int d = WLOAD_STEP_DIMS; d-- > 0;) {
		n.stride[d] = step->out_stride[d] * n.width;
		assert(n.stride[d] || box->size[d] == 1); /* nothing is written twice */
		n.span[d] = n.span[d + 1] + (box->size[d] - 1) * n.stride[d];
		at += box->begin[d] * n.stride[d];
	}
	if (at >= n.hi || at + n.span[0] <= n.lo)
		return 0;
	return narrow(&n, *box, 0, at);
}
