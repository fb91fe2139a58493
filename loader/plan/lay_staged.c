/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks of which parts can't be placed: what holds them is staged, each byte once, and a step a
 * part and expert makes its rows.
 *
 *   tensor     expert 0: a row of gate and up each    ...
 *   staged     [gate and up of the rank's rows     ]  ...
 *   parameter  [up's rows][gate's rows]               ...
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/laying.h"
#include "loader/plan/moves.h"
#include "loader/plan/regions.h"

struct stack {
	const struct draft_join *join;
	const struct split_part *cut; /* of the rank's first expert */
	uint32_t first, experts;      /* that the rank has */
	struct wload_param *param;
	uint64_t width;	  /* bytes of an element */
	uint64_t columns; /* of the parameter's rows */
	uint64_t staged;  /* bytes so far */
	uint64_t row;	  /* of the parameter, the next part's first */
	struct wload_source *sources;
	size_t count;
	struct moves moves;
};

/* Where a part's elements lie in its region. */
struct grid {
	uint64_t first;	    /* bytes from the region's first one */
	uint64_t stride[2]; /* elements, of rows and columns */
};

/* Pieces of `pitch` bytes each are rows, or columns, or a run of rows without gaps. */
static struct grid grid_of(const struct draft_view *view, const struct wload_source *source,
			   uint64_t pitch, uint64_t columns, uint64_t width)
{
	uint64_t of = view && view->staged ? view->of : 1;
	struct grid g = {.first = view && view->staged ? view->at : 0};
	uint64_t along = source->rows > 1 ? pitch / width : columns;

	if (view && view->staged && view->transposed) {
		if (source->rows == 1)
			along = view->row / width;
		g.stride[0] = of;
		g.stride[1] = along;
		g.first *= width;
		return g;
	}
	g.stride[0] = of * along;
	g.stride[1] = 1;
	g.first *= along * width;
	return g;
}

/* Adds a region where the last source does not end at it, staged and in its tensor. */
static uint64_t stage(struct stack *s, const struct wload_source *region)
{
	struct wload_source *last = s->count ? &s->sources[s->count - 1] : NULL;
	uint64_t at = s->staged;

	if (last && last->tensor == region->tensor && last->rows == 1 && region->rows == 1 &&
	    last->src_offset + last->bytes == region->src_offset &&
	    last->dst_offset + last->bytes == at) {
		last->bytes += region->bytes;
	} else {
		s->sources[s->count] = *region;
		s->sources[s->count++].dst_offset = at;
	}
	s->staged = moves_align(at + region->bytes);
	return at;
}

static void move_part(struct stack *s, const struct laying *l, uint32_t part,
		      const struct split_part *cut, const struct wload_source *source,
		      const struct wload_source *regions, const uint64_t *at, size_t count)
{
	const struct draft_view *view = draft_view(l->draft, part);
	struct wload_tensor t = draft_part(l->draft, part);
	uint64_t offset, pitch, size[2] = {laying_dim(&t, cut, 0), s->columns};
	struct grid grid;
	size_t region;

	if (source->bytes) {
		region = regions_find(regions, count, source, &offset, &pitch);
		grid = grid_of(view, source, pitch, s->columns, s->width);
		moves_add(&s->moves, view && view->transposed ? "transpose" : "deinterleave", 2,
			  at[region] + offset + grid.first, s->row * s->columns, size, grid.stride,
			  (uint64_t[]){s->columns, 1});
	}
	s->row += size[0];
}

static int stage_expert(struct stack *s, const struct laying *l, uint32_t expert,
			struct wload_error *err)
{
	const uint32_t *parts = laying_parts(l, s->join, expert);
	struct wload_source sources[RULES_PARTS_MAX], regions[RULES_PARTS_MAX];
	uint64_t at[RULES_PARTS_MAX];
	size_t count;

	for (uint32_t i = 0; i < s->join->parts; i++) {
		const struct draft_view *view = draft_view(l->draft, parts[i]);

		sources[i] = laying_source(l, s->join, &s->cut[i], i, expert);
		if (view && !view->staged && view->count > 1 && sources[i].rows > 1 &&
		    sources[i].rows != laying_dim(&view->part, &s->cut[i], 0))
			return split_fail(&l->expert_split, view->part.name, EOPNOTSUPP, err,
					  "has dimension 0 in groups, and others beside it are "
					  "made by steps");
		regions[i] = sources[i];
	}
	count = regions_merge(regions, s->join->parts);
	for (size_t i = 0; i < count; i++)
		at[i] = stage(s, &regions[i]);
	for (uint32_t i = 0; i < s->join->parts; i++)
		move_part(s, l, parts[i], &s->cut[i], &sources[i], regions, at, count);
	return 0;
}

static int count_bytes(const struct wload_param *param, uint64_t width, uint64_t *ret,
		       struct wload_error *err)
{
	*ret = width;
	for (uint32_t d = 0; d < param->rank; d++)
		if (!checked_mul(*ret, param->shape[d], ret))
			return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
	return 0;
}

int lay_down_staged(struct laying *l, const struct draft_join *join, const struct split_part *cut,
		    struct wload_param *param, struct wload_error *err)
{
	struct wload_source *sources CLEANUP_FREE = NULL;
	struct stack s = {.join = join,
			  .cut = cut,
			  .param = param,
			  .width = wload_dtype_describe(param->dtype)->bits / 8,
			  .columns = param->rank > 2 ? param->shape[2] : 1,
			  .moves = {.type = param->dtype}};
	int r = count_bytes(param, s.width, &param->bytes, err);

	laying_experts(l, join, &s.first, &s.experts);
	if (r == 0)
		r = moves_take(&s.moves, &l->plan->arena, (size_t)s.experts * join->parts, err);
	sources = calloc((size_t)s.experts * join->parts + 1, sizeof(*sources));
	if (!sources)
		return wload_fail(err, ENOMEM, "out of memory");
	s.sources = sources;
	for (uint32_t e = 0; r == 0 && e < s.experts; e++)
		r = stage_expert(&s, l, s.first + e, err);
	if (r < 0)
		return r;
	if (!s.count) /* empty ones have a source too */
		s.sources[s.count++] = laying_source(l, join, &cut[0], 0, s.first);
	if (s.moves.count)
		moves_give(&s.moves, param, s.staged);
	return laying_keep(l, param, s.sources, s.count, err);
}
