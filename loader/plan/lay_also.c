/* SPDX-License-Identifier: Apache-2.0 */
/* A part by itself, its heads a dimension: placement, or, where each head is transposed, one step
 * over all of them. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "loader/plan/laying.h"
#include "loader/plan/moves.h"

/* Shares out what the rank has of the rows: [each, rows, columns…], or [each, columns, rows]. */
static int shape_also(struct laying *l, const struct draft_join *join, const struct wload_tensor *t,
		      const struct split_part *cut, struct wload_param *param,
		      struct wload_error *err)
{
	uint64_t *shape = arena_take(&l->plan->arena, (t->rank + 1) * sizeof(*shape));
	uint64_t rows = t->shape[0] / join->each, have = laying_dim(t, cut, 0);

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	if (rows == 0 || have % rows != 0)
		return split_fail(&l->split, t->name, EINVAL, err,
				  "has dimension 0 of %" PRIu64 ", %" PRIu64 " for each of %" PRIu64
				  ", and %" PRIu64 " are no whole ones",
				  t->shape[0], rows, join->each, have);
	shape[0] = have / rows;
	shape[1] = rows;
	for (uint32_t d = 1; d < t->rank; d++)
		shape[d + 1] = laying_dim(t, cut, d);
	if (join->rule->transpose && t->rank == 2) {
		shape[1] = shape[2];
		shape[2] = rows;
	}
	param->shape = shape;
	param->rank = t->rank + 1;
	return 0;
}

static int transpose(struct laying *l, struct wload_param *param, struct wload_error *err)
{
	const uint64_t *shape = param->shape;
	uint64_t each = shape[1] * shape[2];
	struct moves moves = {.type = param->dtype};
	int r = moves_take(&moves, &l->plan->arena, 1, err);

	if (r < 0)
		return r;
	moves_add(&moves, "transpose", 3, 0, 0, shape, (uint64_t[]){each, 1, shape[1]},
		  (uint64_t[]){each, shape[2], 1});
	moves_give(&moves, param, param->bytes);
	return 0;
}

int lay_down_also(struct laying *l, const struct draft_join *join, struct wload_error *err)
{
	struct wload_param *param = &l->plan->params[l->plan->count++];
	uint32_t part = laying_parts(l, join, 0)[0];
	struct wload_tensor t = draft_part(l->draft, part);
	struct split_part cut;
	int r = laying_cut(l, join, part, &cut, err);

	*param = (struct wload_param){.name = join->name, .dtype = t.dtype, .sources = l->source};
	if (r == 0)
		r = shape_also(l, join, &t, &cut, param, err);
	if (r == 0)
		r = laying_add(l, &cut, part, param, err);
	if (r == 0 && join->rule->transpose && t.rank == 2 && param->bytes && param->shape[1] > 1 &&
	    param->shape[2] > 1) /* or it is the same */
		r = transpose(l, param, err);
	return r;
}
