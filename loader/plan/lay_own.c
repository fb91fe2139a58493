/* SPDX-License-Identifier: Apache-2.0 */
/* A rank's part of a tensor that stays one tensor, in the tensor's own order, where what the rank
 * has of it is what it has of the logical parts that it holds:
 *
 *   qkv_proj    [q q q q k k v v]        rank 1 of 2: [q q k v]
 *   gate_up     [gate, up] in each row   rank 1 of 2: each row's [gate, up]
 *
 * Mostly that is placement, in the order of offsets. Where the parts lie beside each other in
 * every row, and a rank has not all of them, each is staged and a step puts its columns back. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/laying.h"
#include "loader/plan/regions.h"
#include "loader/plan/moves.h"

/* What a rank has of a tensor. */
struct own {
	const struct draft_join *join;
	struct wload_tensor tensor;
	uint32_t first, experts; /* of those whose parts the join has, which are the rank's */
	size_t regions;		 /* of each expert */
	struct split_part cut[RULES_PARTS_MAX];
	struct wload_source *sources; /* regions of each expert, in its order */
	bool interleaved;
};

static uint64_t sum_of(const struct own *own, const struct laying *l, uint32_t dim)
{
	const uint32_t *parts = laying_parts(l, own->join, own->first);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < own->join->parts; i++) {
		struct wload_tensor t = draft_part(l->draft, parts[i]);

		sum += laying_dim(&t, &own->cut[i], dim);
	}
	return sum;
}

/* The shape of one expert in a tensor of all, [E, rows, columns…]; columns past the second
 * dimension are one for whoever cuts them. */
static int shape_expert(const struct laying *l, const struct own *own, uint64_t *shape,
			struct wload_error *err)
{
	uint32_t part = laying_parts(l, own->join, own->first)[0];
	const struct draft_view *view = draft_view(l->draft, part);
	uint32_t rows = view->staged && view->transposed ? 2 : 1;
	uint64_t columns, inner = 1;

	shape[0] = own->experts;
	shape[rows] = sum_of(own, l, 0);
	if (own->tensor.rank < 3)
		return 0;
	columns = laying_dim(&view->part, &own->cut[0], 1);
	for (uint32_t d = 3; d < own->tensor.rank; d++)
		inner *= own->tensor.shape[d];
	if (columns % inner != 0)
		return split_fail(&l->expert_split, own->tensor.name, EINVAL, err,
				  "has dimension 2 of %" PRIu64 ", each %" PRIu64
				  " elements, of which %" PRIu64 " are no whole ones",
				  own->tensor.shape[2], inner, columns);
	shape[3 - rows] = columns / inner;
	return 0;
}

/* Parts that would be one again must be alike but for their rows. */
static int check_alike(const struct laying *l, const struct own *own, struct wload_error *err)
{
	const uint32_t *parts = laying_parts(l, own->join, own->first);
	struct wload_tensor first = draft_part(l->draft, parts[0]), t;

	for (uint32_t i = 1; i < own->join->parts; i++) {
		t = draft_part(l->draft, parts[i]);
		for (uint32_t d = 1; d < t.rank; d++)
			if (laying_dim(&t, &own->cut[i], d) != laying_dim(&first, &own->cut[0], d))
				return split_fail(&l->split, t.name, EINVAL, err,
						  "has dimension %" PRIu32 " of %" PRIu64
						  ", what is beside it has %" PRIu64,
						  d, laying_dim(&t, &own->cut[i], d),
						  laying_dim(&first, &own->cut[0], d));
	}
	return 0;
}

/* Regions whose pieces are between each other's are as many of each, of whole elements. */
static int check_interleaved(const struct laying *l, const struct own *own, struct wload_error *err)
{
	const struct wload_source *regions = own->sources;
	bool alike = wload_dtype_describe(own->tensor.dtype)->bits % 8 == 0;

	for (size_t i = 1; alike && i < own->regions; i++)
		alike = regions[i].rows == regions[0].rows &&
			regions[i].src_stride == regions[0].src_stride;
	return alike ? 0
		     : split_fail(&l->split, own->tensor.name, EOPNOTSUPP, err,
				  "has parts between each other, in dimension 0 of %" PRIu64
				  ", that are not split alike",
				  own->tensor.shape[0]);
}

static int shape_own(struct laying *l, const struct own *own, struct wload_param *param,
		     struct wload_error *err)
{
	uint32_t rank = own->tensor.rank, part = laying_parts(l, own->join, own->first)[0];
	struct wload_tensor first = draft_part(l->draft, part);
	uint64_t *shape = arena_take(&l->plan->arena, (rank + 1) * sizeof(*shape));

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	if (rank)
		memcpy(shape, own->tensor.shape, rank * sizeof(*shape));
	param->shape = shape;
	param->rank = rank;
	if (own->join->experts && own->join->expert == DRAFT_ALL_EXPERTS)
		return shape_expert(l, own, shape, err);
	for (uint32_t d = 0; d < rank; d++)
		shape[d] = d ? laying_dim(&first, &own->cut[0], d) : sum_of(own, l, 0);
	return 0;
}

/* The regions of one expert, merged. */
static int find_regions(struct laying *l, struct own *own, uint32_t expert, size_t *ret_count,
			struct wload_error *err)
{
	struct wload_source *regions = own->sources + (expert - own->first) * own->join->parts;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < own->join->parts; i++) {
		r = laying_cut(l, own->join, laying_parts(l, own->join, expert)[i], &own->cut[i],
			       err);
		if (r == 0)
			regions[i] = own->cut[i].source;
	}
	if (r == 0)
		*ret_count = regions_merge(regions, own->join->parts);
	return r;
}

/* Sources, one behind the other, with what goes on where another ends put to that. */
static size_t place_regions(struct own *own)
{
	struct wload_source *to = own->sources, *from;
	uint64_t at = 0;

	for (uint32_t e = 0; e < own->experts; e++)
		for (size_t i = 0; i < own->regions; i++) {
			from = own->sources + e * own->join->parts + i;
			from->dst_offset = at;
			at += from->bytes;
			if (to > own->sources && to[-1].rows == 1 && from->rows == 1 &&
			    to[-1].src_offset + to[-1].bytes == from->src_offset)
				to[-1].bytes += from->bytes;
			else
				*to++ = *from;
		}
	return (size_t)(to - own->sources);
}

/* A step for each region of each expert, which puts its pieces between those of the others. */
static int stage_regions(struct laying *l, struct own *own, struct wload_param *param,
			 size_t *ret_count, struct wload_error *err)
{
	uint64_t width = wload_dtype_describe(param->dtype)->bits / 8, row = 0, staged = 0;
	struct moves moves = {.type = param->dtype};
	struct wload_source *to = own->sources, *from;
	int r = moves_take(&moves, &l->plan->arena, own->experts * own->regions, err);

	for (size_t i = 0; r == 0 && i < own->regions; i++)
		row += own->sources[i].bytes / own->sources[i].rows / width;
	for (uint32_t e = 0; r == 0 && e < own->experts; e++) {
		uint64_t out = e * (param->bytes / own->experts / width);

		for (size_t i = 0; i < own->regions; i++) {
			uint64_t size[2], piece;

			from = own->sources + e * own->join->parts + i;
			piece = from->bytes / from->rows / width;
			size[0] = from->rows;
			size[1] = piece;
			from->dst_offset = staged;
			moves_add(&moves, "interleave", 2, staged, out, size,
				  (uint64_t[]){piece, 1}, (uint64_t[]){row, 1});
			staged = moves_align(staged + from->bytes);
			out += piece;
			*to++ = *from;
		}
	}
	if (r < 0)
		return r;
	*ret_count = (size_t)(to - own->sources);
	moves_give(&moves, param, staged);
	return 0;
}

static int lay_regions(struct laying *l, struct own *own, struct wload_error *err)
{
	struct wload_param *param = &l->plan->params[l->plan->count];
	size_t count = 0, same = 0;
	int r = find_regions(l, own, own->first, &own->regions, err);

	*param = (struct wload_param){.name = own->join->name, .dtype = own->tensor.dtype};
	if (r == 0)
		r = check_alike(l, own, err);
	if (r == 0)
		r = shape_own(l, own, param, err);
	own->interleaved = r == 0 && !regions_follow(own->sources, own->regions);
	if (own->interleaved)
		r = check_interleaved(l, own, err);
	for (uint32_t e = 1; r == 0 && e < own->experts; e++) {
		r = find_regions(l, own, own->first + e, &same, err);
		assert(r < 0 || same == own->regions); /* experts are alike */
	}
	for (uint32_t e = 0; r == 0 && e < own->experts; e++)
		for (size_t i = 0; i < own->regions; i++)
			param->bytes += own->sources[e * own->join->parts + i].bytes;
	if (r == 0 && own->interleaved)
		r = stage_regions(l, own, param, &count, err);
	else if (r == 0)
		count = place_regions(own);
	if (r == 0 && count == 0) { /* an empty tensor has a source too */
		own->sources[0] = (struct wload_source){
			.tensor = draft_tensor(l->draft, laying_parts(l, own->join, own->first)[0]),
			.rows = 1};
		count = 1;
	}
	if (r == 0)
		r = laying_keep(l, param, own->sources, count, err);
	l->plan->count += r == 0;
	return r;
}

int lay_down_own(struct laying *l, const struct draft_join *join, struct wload_error *err)
{
	struct own own = {.join = join, .experts = 1};
	struct wload_source *sources CLEANUP_FREE = NULL;
	uint32_t first, count;

	laying_experts(l, join, &first, &count);
	if (join->experts && join->expert == DRAFT_ALL_EXPERTS) {
		own.first = first;
		own.experts = count;
	} else if (join->experts && (join->expert < first || join->expert - first >= count)) {
		return 0; /* another rank's */
	}
	own.tensor = wload_inventory_tensor(
		l->draft->inv, draft_tensor(l->draft, laying_parts(l, join, own.first)[0]));
	sources = calloc((size_t)own.experts * join->parts, sizeof(*sources));
	if (!sources)
		return wload_fail(err, ENOMEM, "out of memory");
	own.sources = sources;
	return lay_regions(l, &own, err);
}
