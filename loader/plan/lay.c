/* SPDX-License-Identifier: Apache-2.0 */
/* One walk over the tensors in disk order: each is the first source of a parameter, one of its
 * others, or left out. Every source is cut for the rank first, then put behind those before it. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "loader/base/checked.h"
#include "loader/plan/lay.h"
#include "loader/plan/split.h"

/* A plan being laid down. */
struct laying {
	struct wload_plan *plan;
	const struct draft *draft;
	struct split split;
	struct wload_source *source; /* the next free one */
};

/* Adds a part as the next source of a parameter. */
static int add_source(struct laying *l, uint32_t tensor, const struct split_part *part,
		      struct wload_param *param, struct wload_error *err)
{
	struct wload_source *source = l->source++;

	*source = part->source;
	source->tensor = tensor;
	source->dst_offset = param->bytes;
	if (!checked_add(l->plan->bytes, source->bytes, &l->plan->bytes))
		return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
	param->bytes += source->bytes; /* at most plan->bytes */
	param->source_count++;
	l->plan->uses[tensor]++;
	return 0;
}

static uint64_t part_dim(const struct wload_tensor *t, const struct split_part *part, uint32_t dim)
{
	return part->cut && part->dim == dim ? part->length : t->shape[dim];
}

/* Gives a parameter a shape of its own: that of its first part. */
static int own_shape(struct laying *l, const struct wload_tensor *t, const struct split_part *part,
		     struct wload_param *param, struct wload_error *err)
{
	uint64_t *shape = arena_take(&l->plan->arena, t->rank * sizeof(*shape));
	uint32_t i;

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	for (i = 0; i < t->rank; i++)
		shape[i] = part_dim(t, part, i);
	param->shape = shape;
	return 0;
}

/* Parts that fit each other as they are in the checkpoint need not when they are cut, each by a
 * rule of its own. */
static int add_rows(const struct laying *l, const struct wload_tensor *t,
		    const struct split_part *part, struct wload_param *param,
		    struct wload_error *err)
{
	uint64_t *shape = (uint64_t *)param->shape; /* own_shape()'s */
	uint32_t i;

	for (i = 1; i < t->rank; i++)
		if (part_dim(t, part, i) != shape[i])
			return wload_fail(err, EINVAL,
					  "rank %" PRIu32 " of %" PRIu32 ": tensor '%.*s' has "
					  "dimension %" PRIu32 " of %" PRIu64
					  ", what it is joined to in '%.*s' has %" PRIu64,
					  l->split.rank, l->split.tp, DRAFT_SHOW(t->name), i,
					  part_dim(t, part, i), DRAFT_SHOW(param->name), shape[i]);
	shape[0] += part_dim(t, part, 0); /* at most the joined shape's, which is checked */
	return 0;
}

static int add_part(struct laying *l, uint32_t tensor, bool joined, struct wload_param *param,
		    struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(l->draft->inv, tensor);
	struct split_part part;
	int r = split_tensor(&l->split, &t, &part, err);

	if (r == 0 && param->source_count && l->split.tp > 1)
		r = add_rows(l, &t, &part, param, err);
	else if (r == 0 && (part.cut || (joined && l->split.tp > 1)))
		r = own_shape(l, &t, &part, param, err);
	return r < 0 ? r : add_source(l, tensor, &part, param, err);
}

static void start_single(struct wload_param *param, const struct draft *draft, uint32_t tensor)
{
	struct wload_tensor t = wload_inventory_tensor(draft->inv, tensor);

	*param = (struct wload_param){
		.name = t.name, .shape = t.shape, .rank = t.rank, .dtype = t.dtype};
}

static void start_joined(struct wload_param *param, const struct draft *draft,
			 const struct draft_join *join)
{
	uint32_t first = draft->parts[join->first_part];

	*param = (struct wload_param){
		.name = join->name,
		.shape = join->shape,
		.rank = join->rank,
		.dtype = wload_inventory_tensor(draft->inv, first).dtype,
	};
}

/* Lays down the parameter of which this tensor is the first source, if it is one's. */
static int lay_down_tensor(struct laying *l, uint32_t tensor, struct wload_error *err)
{
	const struct draft *draft = l->draft;
	const uint32_t owner = draft->owner[tensor], *parts = &tensor;
	struct wload_param *param = &l->plan->params[l->plan->count];
	bool joined = owner != DRAFT_FREE;
	uint32_t i, count = 1;
	int r;

	if (owner == DRAFT_LEFT_OUT)
		return 0;
	if (joined) {
		parts = draft->parts + draft->joins[owner].first_part;
		count = draft->joins[owner].parts;
		if (parts[0] != tensor)
			return 0;
		start_joined(param, draft, &draft->joins[owner]);
	} else {
		start_single(param, draft, tensor);
	}
	param->sources = l->source;
	for (i = 0; i < count; i++) {
		r = add_part(l, parts[i], joined, param, err);
		if (r < 0)
			return r;
	}
	l->plan->count++;
	return 0;
}

static void *zeroed(size_t count, size_t bytes)
{
	return calloc(count ? count : 1, bytes);
}

int lay_down(struct wload_plan *plan, const struct draft *draft, const struct wload_rules *rules,
	     const struct config *config, struct wload_error *err)
{
	size_t used = (size_t)plan->tensor_count - draft->left_out;
	struct laying l = {
		.plan = plan,
		.draft = draft,
		.split = {.rules = rules, .config = config, .tp = plan->tp, .rank = plan->rank},
	};
	uint32_t tensor;
	int r;

	plan->params = zeroed(used - draft->part_count + draft->join_count, sizeof(*plan->params));
	plan->sources = zeroed(used, sizeof(*plan->sources));
	plan->uses = zeroed(plan->tensor_count, sizeof(*plan->uses));
	if (!plan->params || !plan->sources || !plan->uses)
		return wload_fail(err, ENOMEM, "out of memory");
	l.source = plan->sources;
	for (tensor = 0; tensor < plan->tensor_count; tensor++) {
		r = lay_down_tensor(&l, tensor, err);
		if (r < 0)
			return r;
	}
	assert(l.source == plan->sources + used);
	return 0;
}
