/* SPDX-License-Identifier: Apache-2.0 */
/* A part and a rank -> which of its bytes, as TensorRT-LLM slices (modules/linear.py,
 * load_weight_shard; attention's _duplicate_kv):
 *
 *   name -> rule       the modules of the rules are looked for in the tensor's name
 *   rule -> range      of one dimension: ceil(size / tp) for each rank, or whole heads (heads.h);
 *                      a scale has the blocks of what its weight has
 *   range -> pieces    one of each row outside that dimension; dimension 0 has one in all. Of a
 *                      view, those of the tensor that it is of
 *
 * What no rule can slice right is refused: a rank that silently had all of a weight, or scales of
 * other rows than its own, would compute garbage. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan/heads.h"
#include "loader/plan/scale.h"
#include "loader/plan/shares.h"
#include "loader/plan/split.h"

int split_fail(const struct split *split, const char *name, int code, struct wload_error *err,
	       const char *fmt, ...)
{
	char why[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return wload_fail(err, code, "rank %" PRIu32 " of %" PRIu32 ": tensor '%.*s' %s",
			  split->shown_rank, split->shown_tp, DRAFT_SHOW(name), why);
}

/* ---- which rule ------------------------------------------------------------------------------ */

/* The rule of the longest module that a name begins with, or NULL.
 *
 * ret_leaf  what follows the module and its dot */
static const struct rules_split *rule_at(const struct split *split, const char *name,
					 const char **ret_leaf)
{
	const struct wload_rules *rules = split->rules;
	const struct rules_split *rule = NULL;
	size_t most = 0;

	for (size_t i = 0; i < rules->split_count; i++) {
		const struct rules_names *modules = &rules->split[i].modules;
		bool fits = rules_layout_fits(rules->split[i].layouts, split->layout);

		for (size_t j = 0; fits && j < modules->count; j++) {
			size_t len = rules_begin(name, modules->items[j]);

			if (len <= most)
				continue;
			most = len;
			rule = &rules->split[i];
			*ret_leaf = name + len + 1;
		}
	}
	return rule;
}

static const struct rules_split *find_rule(const struct split *split, const char *name,
					   const char **ret_leaf)
{
	const struct rules_split *rule = NULL;

	while (name && !rule) {
		rule = rule_at(split, name, ret_leaf);
		name = strchr(name, '.');
		name = name ? name + 1 : NULL;
	}
	return rule;
}

static bool one_element(const struct wload_tensor *tensor)
{
	for (uint32_t i = 0; i < tensor->rank; i++)
		if (tensor->shape[i] != 1)
			return false;
	return true;
}

/* How a tensor is split.
 *
 * ret_way  NULL: every rank has all of it */
static int find_way(const struct split *split, const struct wload_tensor *tensor,
		    const struct rules_split **ret_way, struct wload_error *err)
{
	const struct rules_split *rule;
	const char *leaf = NULL;

	*ret_way = NULL;
	if (one_element(tensor) || rules_apart(split->rules, tensor->name))
		return 0;
	rule = find_rule(split, tensor->name, &leaf);
	if (!rule && tensor->rank > 1)
		return split_fail(split, tensor->name, EOPNOTSUPP, err,
				  "has %" PRIu32 " dimensions, and no split rule of '%s' names it",
				  tensor->rank, split->rules->family);
	if (!rule || !rule->along->splits)
		return 0;
	if (!rules_names_contain(&rule->leaves, leaf))
		return split_fail(split, tensor->name, EOPNOTSUPP, err,
				  "is of a module that is split along '%s', and the rules of '%s' "
				  "do not say how '%.*s' is",
				  rule->along->word, split->rules->family, DRAFT_SHOW(leaf));
	*ret_way = rule;
	return 0;
}

/* ---- which range ----------------------------------------------------------------------------- */

/* Elements of a dimension of a part that stay together. */
static uint64_t unit_of(const struct split *split, uint32_t part, uint32_t dim)
{
	const struct draft_view *view = draft_view(split->draft, part);

	return view && dim < 2 && view->unit[dim] ? view->unit[dim] : 1;
}

/* The range of a weight in the blocks of its scale. One block is all ranks', but for that of a row
 * which only one rank has any of. */
static int range_in_blocks(const struct split *split, const struct wload_tensor *scale,
			   uint32_t weight, uint32_t dim, struct split_range *range,
			   uint64_t *ret_rest, struct wload_error *err)
{
	struct wload_tensor of = draft_part(split->draft, weight);
	uint64_t size = of.shape[dim], end = range->start + range->length, block;
	bool whole = dim == 1 && unit_of(split, weight, dim) > 1;

	if (scale->rank > of.rank || !scale_block(size, scale->shape[dim], &block))
		return split_fail(split, scale->name, EOPNOTSUPP, err,
				  "has dimension %" PRIu32 " of %" PRIu64 ", which are no blocks "
				  "of its weight's %" PRIu64,
				  dim, scale->shape[dim], size);
	if (scale->shape[dim] == 1 && !whole) {
		*range = (struct split_range){0, 1};
		return 0;
	}
	if (range->length && (range->start % block || (end % block && end != size)))
		return split_fail(split, scale->name, EINVAL, err,
				  "has dimension %" PRIu32 " of %" PRIu64 ", blocks of %" PRIu64
				  ", and %" PRIu64 " of its weight from %" PRIu64
				  " are no whole ones",
				  dim, scale->shape[dim], block, range->length, range->start);
	*ret_rest = dim == 0 ? range->length % block : 0;
	range->start /= block;
	range->length = end / block + (end % block != 0) - range->start;
	return 0;
}

/* ---- which bytes ----------------------------------------------------------------------------- */

/* The sizes of the dimensions first … end - 1 multiplied; bounded by the tensor's own bits where
 * it has any. */
static uint64_t product(const struct wload_tensor *tensor, uint32_t first, uint32_t end)
{
	uint64_t n = 1;

	for (uint32_t i = first; i < end; i++)
		n *= tensor->shape[i];
	return n;
}

static int cut(const struct split *split, const struct wload_tensor *tensor, uint32_t dim,
	       struct split_range range, struct split_part *part, struct wload_error *err)
{
	const struct wload_dtype_desc *type = wload_dtype_describe(tensor->dtype);
	uint64_t rows = product(tensor, 0, dim);
	uint64_t bits = product(tensor, dim + 1, tensor->rank) * type->bits;

	part->cut = true;
	part->dim = dim;
	part->start = range.start;
	part->length = range.length;
	part->source = (struct wload_source){.rows = 1};
	if (range.length == 0 || tensor->bytes == 0)
		return 0;
	if (range.start * bits % 8 || range.length * bits % 8 || tensor->shape[dim] * bits % 8)
		return split_fail(split, tensor->name, EOPNOTSUPP, err,
				  "has dimension %" PRIu32 " of %" PRIu64
				  " in %s, of which %" PRIu64 " from %" PRIu64
				  " are no whole bytes",
				  dim, tensor->shape[dim], type->name, range.length, range.start);
	if (rows > UINT32_MAX)
		return split_fail(split, tensor->name, E2BIG, err,
				  "has dimension %" PRIu32 " in %" PRIu64
				  " pieces, over our limit of 2^32 - 1",
				  dim, rows);
	part->source.rows = (uint32_t)rows;
	part->source.src_offset = range.start * bits / 8;
	part->source.src_stride = rows > 1 ? tensor->shape[dim] * bits / 8 : 0;
	part->source.bytes = rows * (range.length * bits / 8);
	return 0;
}

/* Pieces of a view, which is dense, as pieces of the tensor that it is of. */
static int cut_view(const struct split *split, const struct draft_view *view,
		    struct wload_source *source, struct wload_error *err)
{
	uint64_t first = source->src_offset / view->piece, from = source->src_offset % view->piece;
	uint64_t whole = source->bytes / view->piece;

	if (view->count == 1 || (source->rows == 1 && from + source->bytes <= view->piece)) {
		source->src_offset += view->offset + first * (view->stride - view->piece);
		return 0;
	}
	if (source->rows > 1 || from || source->bytes % view->piece || whole > UINT32_MAX)
		return split_fail(
			split, view->part.name, EOPNOTSUPP, err,
			"has dimension 0 of %" PRIu64 " in pieces of %" PRIu64
			" bytes, and %" PRIu64 " bytes from %" PRIu64 " are no whole ones",
			view->part.shape[0], view->piece, source->bytes, source->src_offset);
	source->rows = (uint32_t)whole;
	source->src_offset = view->offset + first * view->stride;
	source->src_stride = view->stride;
	return 0;
}

/* The bytes of the tensor that hold what is cut of a staged view. */
static int cut_staged(const struct split *split, const struct draft_view *view,
		      const struct split_part *part, struct wload_source *source,
		      struct wload_error *err)
{
	const struct wload_tensor *t = &view->part;
	uint64_t width = wload_dtype_describe(t->dtype)->bits / 8,
		 all = t->rank > 1 ? t->shape[1] : 1;
	uint64_t first[2] = {0, 0}, count[2] = {t->shape[0], all}, pieces, piece;

	if (part->cut) {
		first[part->dim] = part->start;
		count[part->dim] = part->length;
	}
	if (view->transposed) {
		pieces = count[1];
		piece = count[0] * view->of * width;
		source->src_offset = first[1] * view->row + first[0] * view->of * width;
	} else {
		pieces = count[1] == all ? 1 : count[0] * view->of;
		piece = count[1] == all ? count[0] * view->of * view->row : count[1] * width;
		source->src_offset = first[0] * view->of * view->row + first[1] * width;
	}
	if (pieces > UINT32_MAX)
		return split_fail(split, t->name, E2BIG, err,
				  "is %" PRIu64 " pieces, over our limit of 2^32 - 1", pieces);
	if (pieces > 1 && piece == view->row) { /* that have no gaps */
		piece *= pieces;
		pieces = 1;
	}
	source->rows = (uint32_t)pieces;
	source->src_stride = pieces > 1 ? view->row : 0;
	source->src_offset += view->offset;
	source->bytes = pieces * piece;
	return 0;
}

/* How a part is cut. */
struct way {
	const struct along *along;	/* NULL: it is whole */
	const struct rules_split *rule; /* NULL: no more is said */
};

/* What the rank has of a dimension of a part. */
static int find_range(const struct split *split, uint32_t part, const struct way *way,
		      struct split_range *ret_range, struct wload_error *err)
{
	struct wload_tensor tensor = draft_part(split->draft, part);
	const struct along *along = way->along;

	if (along->heads)
		return heads_range(split, &tensor, way->rule, ret_range, err);
	if (way->rule && way->rule->divisor)
		return shares_divisor(split, part, along->dim, ret_range, err);
	*ret_range = shares_blocks(tensor.shape[along->dim], unit_of(split, part, along->dim),
				   split->tp, split->rank);
	return 0;
}

static int cut_along(const struct split *split, uint32_t part, const struct way *way,
		     struct split_part *ret, struct wload_error *err)
{
	struct wload_tensor tensor = draft_part(split->draft, part), of = tensor;
	const struct along *along = way->along;
	struct split_range range;
	uint32_t weight;
	int scales = scale_weight(split->draft, part, &weight, err), r = scales < 0 ? scales : 0;

	if (scales > 0)
		of = draft_part(split->draft, weight);
	if (r < 0 || along->dim >= tensor.rank || along->dim >= of.rank)
		return r;
	r = find_range(split, scales ? weight : part, way, &range, err);
	if (r == 0 && scales)
		r = range_in_blocks(split, &tensor, weight, along->dim, &range, &ret->rest, err);
	if (r < 0 || range.length == tensor.shape[along->dim])
		return r;
	return cut(split, &tensor, along->dim, range, ret, err);
}

static int split_by(const struct split *split, uint32_t part, const struct way *way,
		    struct split_part *ret_part, struct wload_error *err)
{
	const struct draft_view *view = draft_view(split->draft, part);
	struct wload_tensor tensor = draft_part(split->draft, part);
	struct split_part made = {.source = {.rows = 1, .bytes = tensor.bytes}};
	int r = way->along ? cut_along(split, part, way, &made, err) : 0;

	if (r == 0 && view && made.source.bytes)
		r = view->staged ? cut_staged(split, view, &made, &made.source, err)
				 : cut_view(split, view, &made.source, err);
	if (r < 0)
		return r;
	made.source.tensor = draft_tensor(split->draft, part);
	*ret_part = made;
	return 0;
}

int split_part(const struct split *split, uint32_t part, struct split_part *ret_part,
	       struct wload_error *err)
{
	struct wload_tensor tensor = draft_part(split->draft, part);
	struct way way = {NULL, NULL};
	int r = split->tp > 1 ? find_way(split, &tensor, &way.rule, err) : 0;

	if (r < 0)
		return r;
	way.along = way.rule ? way.rule->along : NULL;
	return split_by(split, part, &way, ret_part, err);
}

int split_part_along(const struct split *split, uint32_t part, const struct along *along,
		     struct split_part *ret_part, struct wload_error *err)
{
	struct wload_tensor tensor = draft_part(split->draft, part);
	bool cuts = split->tp > 1 && along->splits && !one_element(&tensor);
	const struct way way = {.along = cuts ? along : NULL};

	return split_by(split, part, &way, ret_part, err);
}
