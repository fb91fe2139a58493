/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of parts whose scales were merged are made anew, of the bytes that they are and the scale
 * that each part had, for the scale that all of them have now. */

#include <errno.h>

#include "loader/plan/convert.h"

#define LAST  (WLOAD_STEP_DIMS - 1)

#define BLOCK 16 /* elements of NVFP4 that share a scale */

/* What the parts of one parameter are made anew with. */
struct making {
	struct convert *c;
	uint32_t index;
	const struct laid *laid;
	struct staging staging;
	struct wload_step *boxes; /* of the parameter */
	uint32_t count;
};

static int unmovable(const struct making *m, const char *name, struct wload_error *err)
{
	return convert_fail(&m->c->plan->params[m->index], "quantised anew", err,
			    "it is made by '%s'", name);
}

/* Lays operands, and gets the boxes. */
static int begin(struct making *m, const struct wload_param *const *operands, size_t count,
		 struct wload_error *err)
{
	struct arena *arena = &m->c->plan->arena;
	int r = staging_lay(arena, operands, count, &m->staging, err);

	if (r == 0)
		r = staging_boxes(arena, &m->c->plan->params[m->index], m->laid, false, &m->boxes,
				  &m->count, err);
	for (uint32_t i = 0; r == 0 && i < m->count; i++)
		if (m->boxes[i].kind != WLOAD_STEP_MOVE)
			r = unmovable(m, m->boxes[i].name, err);
	return r;
}

/* FP8 with one scale a part: operands are the weight and those scales, [expert, part]. */
static int make_fp8(struct making *m, struct wload_error *err)
{
	const struct wload_param *p = &m->c->plan->params[m->index];
	uint32_t scale = convert_scales_of(m->c, p->name).scale, parts = m->laid->join->parts;
	const struct wload_param *operands[2] = {p, &m->c->plan->params[scale]};
	uint32_t expert, part;
	int r = begin(m, operands, 2, err);

	for (uint32_t i = 0; r == 0 && i < m->count; i++) {
		struct wload_step *s = &m->boxes[i];

		if (!staging_place(m->laid, m->count, i, &expert, &part))
			return unmovable(m, s->name, err);
		s->kind = WLOAD_STEP_REQUANTISE_FP8;
		s->name = "requantise";
		s->scale_dtype = WLOAD_DTYPE_F32;
		s->scale_2 = m->staging.at[1] + (uint64_t)expert * parts * sizeof(float);
		s->scale = s->scale_2 + part * sizeof(float);
		s->reduce = parts;
		s->reduce_stride = 1;
	}
	return r;
}

/* A step of NVFP4: which scales are whose is the same for weight and scale. */
static void set_nvfp4(const struct making *m, struct wload_step *s, uint32_t part)
{
	s->name = "requantise";
	s->scale_dtype = WLOAD_DTYPE_F8_E4M3;
	s->scale_2 = m->staging.at[2] + part * sizeof(float);
	s->all_scale_2 = m->staging.at[2];
	s->reduce = m->laid->join->parts;
	s->reduce_stride = 1;
}

/* A box of the weight's, and the scales' box that goes with it, as steps that make either. */
static int pair_nvfp4(struct making *m, struct wload_step *weight, const struct wload_step *scale,
		      struct wload_error *err)
{
	if (scale->kind != WLOAD_STEP_MOVE || !convert_to_halves(weight))
		return unmovable(m, scale->name, err);
	weight->kind = WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT;
	weight->scale = m->staging.at[1] + scale->in;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		weight->block[d] = d == LAST ? BLOCK : 1;
		weight->scale_stride[d] = scale->in_stride[d];
	}
	return 0;
}

static void scale_of_pair(const struct making *m, const struct wload_step *weight,
			  struct wload_step *scale)
{
	scale->kind = WLOAD_STEP_REQUANTISE_NVFP4_SCALE;
	scale->from = WLOAD_DTYPE_U8;
	scale->scale = m->staging.at[1] + scale->in;
	scale->in = weight->in;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		scale->scale_stride[d] = scale->in_stride[d];
		scale->in_stride[d] = weight->in_stride[d];
	}
	scale->in_stride[LAST] = BLOCK;
}

/* NVFP4: the weight and its scales both, each of both and the scales of the parts. */
static int make_nvfp4(struct making *m, struct wload_error *err)
{
	struct wload_param *p = &m->c->plan->params[m->index], *s, *second;
	const struct convert_scales found = convert_scales_of(m->c, p->name);
	struct wload_step *scales;
	uint32_t count, expert, part;
	int r;

	s = &m->c->plan->params[found.scale];
	second = &m->c->plan->params[found.second];
	r = begin(m, (const struct wload_param *[]){p, s, second}, 3, err);
	if (r == 0)
		r = staging_boxes(&m->c->plan->arena, s, &m->c->laid[found.scale], false, &scales,
				  &count, err);
	if (r == 0 && count != m->count)
		r = unmovable(m, "move", err);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		if (!staging_place(m->laid, count, i, &expert, &part))
			return unmovable(m, m->boxes[i].name, err);
		r = pair_nvfp4(m, &m->boxes[i], &scales[i], err);
		if (r < 0)
			return r;
		scale_of_pair(m, &m->boxes[i], &scales[i]);
		set_nvfp4(m, &m->boxes[i], part);
		set_nvfp4(m, &scales[i], part);
	}
	if (r == 0)
		staging_use(s, &m->staging, scales, count);
	return r;
}

int convert_requantise(struct convert *c, struct wload_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->plan->count; i++) {
		struct making m = {.c = c, .index = i, .laid = &c->laid[i]};

		if (!m.laid->join || c->states[i] != CONVERT_STAYS)
			continue;
		switch (m.laid->join->made_by) {
		case WLOAD_STEP_REQUANTISE_FP8:
			r = make_fp8(&m, err);
			break;
		case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
			r = make_nvfp4(&m, err);
			break;
		default: /* nothing, or it is made with another */
			continue;
		}
		if (r == 0)
			staging_use(&c->plan->params[i], &m.staging, m.boxes, m.count);
	}
	return r;
}
