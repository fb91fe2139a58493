/* SPDX-License-Identifier: Apache-2.0 */
/* Values that parts have one of become one value: of all parts, of those of each expert, or of all
 * experts. They are laid down one behind the other already; that is what the staging area holds. */

#include <errno.h>

#include "loader/plan/convert.h"

static int merge(struct convert *c, uint32_t index, struct wload_error *err)
{
	struct wload_param *p = &c->plan->params[index];
	const struct draft_join *join = c->laid[index].join;
	uint64_t width = wload_dtype_describe(p->dtype)->bits / 8, all = p->bytes / width;
	uint64_t values = join->experts && !join->over_all ? all / join->parts : 1;
	struct wload_step *step = arena_take(&c->plan->arena, sizeof(*step));
	uint64_t *shape = arena_take(&c->plan->arena, sizeof(*shape));

	if (!step || !shape)
		return wload_fail(err, ENOMEM, "out of memory");
	*step = (struct wload_step){.kind = join->made_by,
				    .name = join->made_by == WLOAD_STEP_MAX ? "max" : "equal",
				    .from = p->dtype,
				    .to = p->dtype,
				    .scale_dtype = p->dtype,
				    .reduce = all / values,
				    .reduce_stride = 1};
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		step->size[d] = step->block[d] = 1;
	step->size[WLOAD_STEP_DIMS - 1] = values;
	step->in_stride[WLOAD_STEP_DIMS - 1] = all / values;
	step->out_stride[WLOAD_STEP_DIMS - 1] = 1;
	p->staged_bytes = p->bytes;
	p->steps = step;
	p->step_count = 1;
	p->bytes = values * width;
	p->rank = join->experts && !join->over_all;
	*shape = values;
	p->shape = shape;
	return 0;
}

int convert_merge(struct convert *c, struct wload_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->plan->count; i++) {
		const struct draft_join *join = c->laid[i].join;

		if (join && (join->made_by == WLOAD_STEP_MAX || join->made_by == WLOAD_STEP_EQUAL))
			r = merge(c, i, err);
	}
	return r;
}
