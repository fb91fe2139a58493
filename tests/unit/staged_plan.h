/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STAGED_PLAN_H
#define STAGED_PLAN_H

/* A plan of a Llama (checkpoint_of.h) whose matrices are made by steps: every second one is
 * transposed, the rows of the others are dealt out by two steps, and all are cast to F32. Sources
 * lie GAP bytes into their staging areas. */

#include "checkpoint_of.h"
#include "loader/plan/lay.h"
#include "random_steps.h"

#define STAGED_GAP 32

static inline void staged_transpose(struct wload_step *s, uint64_t rows, uint64_t columns)
{
	s->size[0] = columns;
	s->size[1] = rows;
	s->in_stride[0] = s->out_stride[1] = 1;
	s->in_stride[1] = columns;
	s->out_stride[0] = rows;
}

/* Half of the rows: from `first` on, to each second one. */
static inline void staged_deal(struct wload_step *s, uint64_t rows, uint64_t columns,
			       uint64_t first)
{
	s->size[0] = (rows + 1 - first) / 2;
	s->size[1] = columns;
	s->in_stride[0] = s->in_stride[1] = s->out_stride[1] = 1;
	s->in_stride[0] = columns;
	s->out_stride[0] = 2 * columns;
	s->in += first * ((rows + 1) / 2) * columns * 2;
	s->out += first * columns * 4;
}

static inline uint32_t staged_steps(struct wload_param *param, uint32_t index,
				    struct wload_step steps[2])
{
	uint64_t rows = param->shape[0], columns = param->shape[1];
	uint32_t count = index % 2 ? 1 : 2;

	for (uint32_t k = 0; k < count; k++) {
		steps[k] = (struct wload_step){.kind = WLOAD_STEP_CAST,
					       .name = "test",
					       .from = WLOAD_DTYPE_BF16,
					       .to = WLOAD_DTYPE_F32,
					       .in = STAGED_GAP,
					       .size = {1, 1, 1, 1, 1, 1},
					       .block = {1, 1, 1, 1, 1, 1}};
		if (count == 1)
			staged_transpose(&steps[k], rows, columns);
		else
			staged_deal(&steps[k], rows, columns, k);
	}
	return count;
}

/* Gives each BF16 matrix its steps. ret_steps is to be freed behind the plan. */
static inline uint32_t staged_plan(struct wload_plan *plan, struct wload_step **ret_steps)
{
	struct wload_step *steps = calloc(2 * (size_t)plan->count, sizeof(*steps));
	uint32_t staged = 0;

	for (uint32_t p = 0; p < plan->count; p++) {
		struct wload_param *param = &plan->params[p];

		if (param->rank != 2 || param->dtype != WLOAD_DTYPE_BF16)
			continue;
		param->steps = &steps[2 * p];
		param->step_count = staged_steps(param, p, &steps[2 * p]);
		param->source_bytes = param->bytes;
		param->staged_bytes = param->bytes + STAGED_GAP;
		param->bytes *= 2;
		for (uint32_t s = 0; s < param->source_count; s++)
			((struct wload_source *)param->sources)[s].dst_offset += STAGED_GAP;
		staged++;
	}
	*ret_steps = steps;
	return staged;
}

static inline bool staged_matches(const struct wload_inventory *inv,
				  const struct wload_param *param, const uint8_t *bytes)
{
	uint8_t *staged = calloc(1, param->staged_bytes), *want = calloc(1, param->bytes);
	bool same;

	for (uint32_t i = 0; i < param->source_count; i++) {
		const struct wload_source *s = &param->sources[i];
		const char *name = wload_inventory_tensor(inv, s->tensor).name;
		uint64_t piece = s->bytes / s->rows;

		for (uint64_t b = 0; b < s->bytes; b++)
			staged[s->dst_offset + b] = llama_byte(
				name, s->src_offset + b / piece * s->src_stride + b % piece);
	}
	for (uint32_t k = 0; k < param->step_count; k++)
		naive_step(&param->steps[k], staged, want);
	same = memcmp(bytes, want, param->bytes) == 0;
	free(staged);
	free(want);
	return same;
}

#endif
