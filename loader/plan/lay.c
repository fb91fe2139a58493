/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters come in the disk order of their first source: joins are sorted by it, and merged with
 * the tensors that nobody claimed. Every part is cut for the rank first, then put behind those
 * before it. Experts of a stack are alike, so what a rank has of one it has of all. Joins that are
 * no mere sequence of parts are laid down in lay_own.c, lay_also.c and lay_staged.c. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/laying.h"

/* Pieces of a view from this size on are sources of their own. Its neighbours fill the gaps between
 * them, so that what is read stays one run of the disk; smaller ones cost more to place than to
 * read. */
#define LAY_PIECE_BYTES 16384

/* A join, and the tensor that comes first in it. */
struct turn {
	uint32_t tensor, join;
};

void laying_experts(const struct laying *l, const struct draft_join *join, uint32_t *ret_first,
		    uint32_t *ret_count)
{
	uint32_t ep = join->every_rank ? 1 : l->plan->ep;

	*ret_count = join->experts ? join->experts / ep : 1;
	*ret_first = join->experts && !join->every_rank ? l->expert_rank * *ret_count : 0;
}

const uint32_t *laying_parts(const struct laying *l, const struct draft_join *join, uint32_t expert)
{
	return l->draft->parts + join->first_part + (size_t)expert * join->parts;
}

/* Whether a source goes on where the one before it ends, in the tensor too. */
static bool goes_on(const struct wload_source *before, const struct wload_source *source)
{
	return before->tensor == source->tensor && before->rows == 1 && source->rows == 1 &&
	       before->src_offset + before->bytes == source->src_offset;
}

/* Adds a part as the next source of a parameter. */
static int add_source(struct laying *l, const struct split_part *part, uint32_t tensor,
		      struct wload_param *param, struct wload_error *err)
{
	struct wload_source *source = l->source, *before = param->source_count ? source - 1 : NULL;

	*source = part->source;
	source->tensor = tensor;
	source->dst_offset = param->bytes;
	if (!checked_add(l->plan->bytes, source->bytes, &l->plan->bytes))
		return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
	param->bytes += source->bytes; /* at most plan->bytes */
	param->source_bytes += source->bytes;
	if (before && goes_on(before, source)) {
		before->bytes += source->bytes;
		return 0;
	}
	/* parts of one tensor come one behind the other */
	l->plan->uses[tensor] += !before || before->tensor != tensor;
	param->source_count++;
	l->source++;
	return 0;
}

/* Adds what a rank has of a part, in as few sources as read well. */
int laying_add(struct laying *l, const struct split_part *part, uint32_t id,
	       struct wload_param *param, struct wload_error *err)
{
	const struct draft_view *view = draft_view(l->draft, id);
	uint32_t tensor = draft_tensor(l->draft, id), pieces = part->source.rows;
	struct split_part piece = *part;
	int r = 0;

	piece.source.bytes /= pieces;
	if (!view || view->count == 1 || piece.source.bytes < LAY_PIECE_BYTES || pieces == 1)
		return add_source(l, part, tensor, param, err);
	piece.source.rows = 1;
	piece.source.src_stride = 0;
	for (; r == 0 && pieces; pieces--) {
		r = add_source(l, &piece, tensor, param, err);
		piece.source.src_offset += part->source.src_stride;
	}
	return r;
}

uint64_t laying_dim(const struct wload_tensor *t, const struct split_part *part, uint32_t dim)
{
	return part->cut && part->dim == dim ? part->length : t->shape[dim];
}

/* Parts that fit each other as they are in the checkpoint need not when they are cut, each by a
 * rule of its own. */
static int add_rows(const struct split *split, const struct wload_tensor *t,
		    const struct split_part *part, const struct wload_param *param, uint64_t *shape,
		    struct wload_error *err)
{
	for (uint32_t i = 1; i < t->rank; i++)
		if (laying_dim(t, part, i) != shape[i])
			return split_fail(split, t->name, EINVAL, err,
					  "has dimension %" PRIu32 " of %" PRIu64
					  ", what it is joined to in '%.*s' has %" PRIu64,
					  i, laying_dim(t, part, i), DRAFT_SHOW(param->name),
					  shape[i]);
	shape[0] += laying_dim(t, part, 0); /* at most the joined rows, which are checked */
	return 0;
}

int laying_cut(const struct laying *l, const struct draft_join *join, uint32_t part,
	       struct split_part *ret, struct wload_error *err)
{
	return join->experts ? split_part_along(&l->expert_split, part, join->rule->along, ret, err)
			     : split_part(&l->split, part, ret, err);
}

/* The first byte of what a part is in its tensor, where experts differ in that. */
static uint64_t offset_of(const struct laying *l, uint32_t part)
{
	const struct draft_view *view = draft_view(l->draft, part);

	return view ? view->offset : 0;
}

struct wload_source laying_source(const struct laying *l, const struct draft_join *join,
				  const struct split_part *cut, uint32_t i, uint32_t expert)
{
	struct wload_source source = cut->source;
	uint32_t first, count, part = laying_parts(l, join, expert)[i];

	laying_experts(l, join, &first, &count);
	source.tensor = draft_tensor(l->draft, part);
	if (source.bytes)
		source.src_offset +=
			offset_of(l, part) - offset_of(l, laying_parts(l, join, first)[i]);
	return source;
}

static bool is_staged(const struct laying *l, const struct draft_join *join)
{
	const uint32_t *parts = laying_parts(l, join, 0);

	for (uint32_t i = 0; i < join->parts; i++) {
		const struct draft_view *view = draft_view(l->draft, parts[i]);

		if (view && view->staged)
			return true;
	}
	return false;
}

int laying_keep(struct laying *l, struct wload_param *param, const struct wload_source *sources,
		size_t count, struct wload_error *err)
{
	struct wload_source *kept = arena_take(&l->plan->arena, (count + 1) * sizeof(*kept));

	if (!kept)
		return wload_fail(err, ENOMEM, "out of memory");
	if (!checked_add(l->plan->bytes, param->bytes, &l->plan->bytes))
		return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
	memcpy(kept, sources, count * sizeof(*kept));
	for (size_t i = 0; i < count; i++) {
		l->plan->uses[kept[i].tensor] += i == 0 || kept[i - 1].tensor != kept[i].tensor;
		param->source_bytes += kept[i].bytes;
	}
	param->sources = kept;
	param->source_count = (uint32_t)count;
	return 0;
}

/* What the rank has of each part of a join's first own expert, and the shape of all of them.
 *
 * shape  of one expert; rank dimensions, or where those are scalars none */
static int cut_parts(struct laying *l, const struct draft_join *join, const uint32_t *parts,
		     const struct wload_param *param, struct split_part *cut, uint64_t *shape,
		     struct wload_error *err)
{
	const struct split *split = join->experts ? &l->expert_split : &l->split;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < join->parts; i++) {
		struct wload_tensor t = draft_part(l->draft, parts[i]);

		r = laying_cut(l, join, parts[i], &cut[i], err);
		if (r < 0)
			break;
		if (i == 0)
			for (uint32_t d = 0; d < t.rank; d++)
				shape[d] = laying_dim(&t, &cut[i], d);
		else if (t.rank)
			r = add_rows(split, &t, &cut[i], param, shape, err);
		if (r == 0 && cut[i].rest && i + 1 < join->parts)
			r = split_fail(split, t.name, EINVAL, err,
				       "scales %" PRIu64 " rows past a whole block, and more is "
				       "joined to it in '%.*s'",
				       cut[i].rest, DRAFT_SHOW(param->name));
	}
	return r;
}

/* The shape of a join: [experts, shape…]; of stacked scalars [experts, parts], or [experts]. */
static int shape_join(struct laying *l, const struct draft_join *join, uint32_t experts,
		      struct wload_param *param, uint64_t **ret_shape, struct wload_error *err)
{
	uint32_t rank = draft_part(l->draft, l->draft->parts[join->first_part]).rank;
	uint32_t before = join->experts ? 1 : 0;
	uint64_t *shape = arena_take(&l->plan->arena, (rank + before + 1) * sizeof(*shape));

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	shape[0] = experts;
	*ret_shape = shape + before;
	param->shape = shape;
	param->rank = rank + before;
	if (rank == 0 && join->parts > 1) {
		shape[before] = join->parts;
		param->rank++;
	}
	return 0;
}

static int check_experts(const struct laying *l, const struct draft_join *join,
			 struct wload_error *err)
{
	if (!join->experts || join->experts % l->plan->ep == 0)
		return 0;
	return split_fail(&l->split, join->name, EINVAL, err,
			  "has dimension 0 of %" PRIu32 ": experts, of which ep %" PRIu32
			  " is no divisor",
			  join->experts, l->plan->ep);
}

/* Remembers what a join became. */
static int note_rows(struct laying *l, const struct draft_join *join, const struct split_part *cut,
		     struct wload_error *err)
{
	uint64_t *rows = arena_take(&l->plan->arena, join->parts * sizeof(*rows));

	if (!rows)
		return wload_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < join->parts; i++) {
		struct wload_tensor t = draft_part(l->draft, l->draft->parts[join->first_part + i]);

		rows[i] = t.rank ? laying_dim(&t, &cut[i], 0) : 1;
	}
	l->laid[l->plan->count - 1] = (struct laid){.join = join, .rows = rows};
	return 0;
}

static int lay_down_join(struct laying *l, const struct draft_join *join, struct wload_error *err)
{
	struct wload_param *param = &l->plan->params[l->plan->count];
	struct split_part cut[RULES_PARTS_MAX], part;
	uint32_t first, count;
	uint64_t *shape = NULL;
	int r = check_experts(l, join, err);

	if (r < 0)
		return r;
	if (join->own)
		return lay_down_own(l, join, err);
	if (join->each)
		return lay_down_also(l, join, err);
	l->plan->count++;
	laying_experts(l, join, &first, &count);
	*param = (struct wload_param){
		.name = join->name,
		.dtype = draft_part(l->draft, laying_parts(l, join, first)[0]).dtype,
		.sources = l->source,
	};
	r = shape_join(l, join, count, param, &shape, err);
	if (r == 0)
		r = cut_parts(l, join, laying_parts(l, join, first), param, cut, shape, err);
	if (r == 0)
		r = note_rows(l, join, cut, err);
	if (r == 0 && is_staged(l, join))
		return lay_down_staged(l, join, cut, param, err);
	for (uint32_t e = first; r == 0 && e < first + count; e++)
		for (uint32_t i = 0; r == 0 && i < join->parts; i++) {
			part = cut[i];
			part.source = laying_source(l, join, &cut[i], i, e);
			r = laying_add(l, &part, laying_parts(l, join, e)[i], param, err);
		}
	return r;
}

/* Lays down a tensor that is a parameter by itself. */
static int lay_down_tensor(struct laying *l, uint32_t tensor, struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(l->draft->inv, tensor);
	struct wload_param *param = &l->plan->params[l->plan->count++];
	struct split_part part;
	uint64_t *shape;
	int r = split_part(&l->split, tensor, &part, err);

	if (r < 0)
		return r;
	*param = (struct wload_param){.name = t.name,
				      .shape = t.shape,
				      .rank = t.rank,
				      .dtype = t.dtype,
				      .sources = l->source};
	if (part.cut) {
		shape = arena_take(&l->plan->arena, t.rank * sizeof(*shape));
		if (!shape)
			return wload_fail(err, ENOMEM, "out of memory");
		for (uint32_t d = 0; d < t.rank; d++)
			shape[d] = laying_dim(&t, &part, d);
		param->shape = shape;
	}
	return add_source(l, &part, tensor, param, err);
}

static int by_tensor(const void *left, const void *right)
{
	const struct turn *a = left, *b = right;

	if (a->tensor != b->tensor)
		return a->tensor < b->tensor ? -1 : 1;
	return a->join < b->join ? -1 : 1;
}

/* The joins in the order of their first tensors. */
static struct turn *order_joins(const struct laying *l)
{
	const struct draft *draft = l->draft;
	struct turn *turns = calloc(draft->join_count + 1, sizeof(*turns));
	uint32_t first, count;

	for (size_t i = 0; turns && i < draft->join_count; i++) {
		laying_experts(l, &draft->joins[i], &first, &count);
		if (first >= draft_join_experts(&draft->joins[i]))
			first = 0;
		turns[i].join = (uint32_t)i;
		turns[i].tensor = draft_tensor(draft, laying_parts(l, &draft->joins[i], first)[0]);
	}
	if (turns)
		qsort(turns, draft->join_count, sizeof(*turns), by_tensor);
	return turns;
}

static int lay_down_all(struct laying *l, const struct turn *turns, struct wload_error *err)
{
	const struct draft *draft = l->draft;
	size_t turn = 0;
	int r = 0;

	for (uint32_t t = 0; r == 0 && t < draft->tensor_count; t++) {
		if (draft->owner[t] == DRAFT_FREE)
			r = lay_down_tensor(l, t, err);
		for (; r == 0 && turn < draft->join_count && turns[turn].tensor == t; turn++)
			r = lay_down_join(l, &draft->joins[turns[turn].join], err);
	}
	return r;
}

/* Marks what only other ranks need: their experts. */
static void mark_elsewhere(struct wload_plan *plan, const struct draft *draft)
{
	for (uint32_t t = 0; t < plan->tensor_count; t++)
		if (!plan->uses[t] && draft->owner[t] < DRAFT_LEFT_OUT)
			plan->uses[t] = LAY_ELSEWHERE;
}

static void *zeroed(size_t count, size_t bytes)
{
	return calloc(count ? count : 1, bytes);
}

/* How many sources a join's parts are, at most. */
static size_t count_sources(const struct laying *l, const struct draft_join *join)
{
	uint32_t first, count;
	size_t sources = 0;

	if (join->own)
		return 0;
	laying_experts(l, join, &first, &count);
	for (size_t i = 0; i < (size_t)count * join->parts; i++) {
		const struct draft_view *view =
			draft_view(l->draft, laying_parts(l, join, first)[i]);

		sources += view && view->piece >= LAY_PIECE_BYTES ? view->count : 1;
	}
	return sources;
}

/* Room for as many parameters and sources as there can be. */
static int make_room(struct laying *l, struct wload_error *err)
{
	struct wload_plan *plan = l->plan;
	const struct draft *draft = l->draft;
	size_t singles = (size_t)plan->tensor_count - draft->left_out - draft->joined;
	size_t sources = singles;

	for (size_t i = 0; i < draft->join_count; i++)
		sources += count_sources(l, &draft->joins[i]);
	plan->params = zeroed(singles + draft->join_count, sizeof(*plan->params));
	plan->sources = zeroed(sources, sizeof(*plan->sources));
	plan->uses = zeroed(plan->tensor_count, sizeof(*plan->uses));
	if (!plan->params || !plan->sources || !plan->uses)
		return wload_fail(err, ENOMEM, "out of memory");
	l->source = plan->sources;
	return 0;
}

int lay_down(struct wload_plan *plan, const struct draft *draft, const struct wload_rules *rules,
	     const struct config *config, struct laid *laid, struct wload_error *err)
{
	const struct split all = {
		.draft = draft,
		.rules = rules,
		.config = config,
		.layout = plan->layout,
		.tp = plan->tp,
		.rank = plan->rank,
		.shown_tp = plan->tp,
		.shown_rank = plan->rank,
	};
	struct laying l = {
		.plan = plan, .draft = draft, .split = all, .expert_split = all, .laid = laid};
	struct turn *turns CLEANUP_FREE = NULL;
	int r;

	/* As TensorRT-LLM's Mapping: ranks that follow each other have different experts. */
	l.expert_split.tp = plan->tp / plan->ep;
	l.expert_split.rank = plan->rank / plan->ep;
	l.expert_rank = plan->rank % plan->ep;
	turns = order_joins(&l);
	if (!turns)
		return wload_fail(err, ENOMEM, "out of memory");
	r = make_room(&l, err);
	if (r == 0)
		r = lay_down_all(&l, turns, err);
	if (r == 0)
		mark_elsewhere(plan, draft);
	return r;
}
