/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights become numbers: a weight's staging area holds it, its scales and the scale of
 * those, and a step of each expert and part makes the numbers. The scales are no parameters then.
 *
 * Scales are laid out as their weights are, so the boxes of both are pairs whose dimensions
 * correspond, also where a weight is transposed. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/quantised.h"

#define DIMS WLOAD_STEP_DIMS

/* Of at most a byte an element. */
static bool is_small(enum wload_dtype dtype)
{
	return wload_dtype_describe(dtype)->bits <= 8;
}

static int fail(const struct quantised *w, struct wload_error *err, const char *why)
{
	return convert_fail(w->param, "dequantised", err, "%s", why);
}

/* Sets where a box's scales are, of their own box. */
static int set_scale(const struct quantised *w, struct wload_step *step,
		     const struct wload_step *box, struct wload_error *err)
{
	if (box->kind != WLOAD_STEP_MOVE)
		return fail(w, err, "its scale is not in the checkpoint as it is needed");
	step->scale = w->staging.at[1] + box->in;
	for (unsigned int d = 0; d < DIMS; d++) {
		step->block[d] = quantised_block(w, d, step->size[d], box->size[d]);
		step->scale_stride[d] = box->in_stride[d];
		if (!step->block[d])
			return fail(w, err, "the sizes do not tell which scale is of which block");
	}
	return 0;
}

/* The first byte of the value that a box's part has, of an operand that holds one a part, one an
 * expert, or one. */
static int find_value(const struct quantised *w, const struct wload_param *values, uint64_t at,
		      uint32_t boxes, uint32_t index, uint64_t *ret, struct wload_error *err)
{
	const struct laid *laid = &w->c->laid[w->index];
	uint64_t count = staging_elements(values), value = 0;
	uint32_t expert, part, parts = laid->join ? laid->join->parts : 1;

	if (count == 0)
		return fail(w, err, "the values that scale it are none");
	if (count > 1) {
		bool known = staging_place(laid, boxes, index, &expert, &part);

		if (known && count == boxes)
			value = index;
		else if (known && count == boxes / parts)
			value = expert;
		else
			return fail(w, err,
				    "the values that scale it are not as many as its parts");
	}
	*ret = at + value * (wload_dtype_describe(values->dtype)->bits / 8);
	return 0;
}

/* Makes one box's step. */
static int rewrite(const struct quantised *w, struct wload_step *step, uint32_t boxes,
		   uint32_t index, const struct wload_step *scale_box, enum wload_dtype to,
		   struct wload_error *err)
{
	int r = 0;

	if (step->kind != WLOAD_STEP_MOVE || step->from != w->param->dtype)
		return convert_fail(w->param, "dequantised", err, "it is made by '%s'", step->name);
	if (w->format->halves && !convert_to_halves(step))
		return fail(w, err, "its rows are not rows of the checkpoint");
	step->out *= (w->format->halves ? 2 : 1) * (wload_dtype_describe(to)->bits / 8);
	step->kind = w->format->kind;
	step->name = "dequantise";
	step->to = to;
	step->scale_dtype = w->scale.dtype;
	if (w->one_a_part)
		r = find_value(w, &w->scale, w->staging.at[1], boxes, index, &step->scale, err);
	else
		r = set_scale(w, step, scale_box, err);
	if (r == 0 && w->second)
		r = find_value(w, w->second, w->staging.at[2], boxes, index, &step->scale_2, err);
	return r;
}

/* The steps of a weight, with one_a_part or in pairs with the boxes of the scale. */
static int make_steps(struct quantised *w, struct wload_step **ret_steps, uint32_t *ret_count,
		      enum wload_dtype to, struct wload_error *err)
{
	struct wload_step *scales = NULL;
	uint32_t count = 0;
	int r = staging_boxes(&w->c->plan->arena, w->param, &w->c->laid[w->index], false, ret_steps,
			      ret_count, err);

	if (r == 0 && !w->one_a_part) {
		r = staging_boxes(&w->c->scratch, &w->scale, &w->c->laid[w->found.scale], false,
				  &scales, &count, err);
		if (r == 0 && count != *ret_count)
			r = fail(w, err, "its scale is not in as many parts");
	}
	for (uint32_t i = 0; r == 0 && i < *ret_count; i++)
		r = rewrite(w, &(*ret_steps)[i], *ret_count, i, scales ? &scales[i] : NULL, to,
			    err);
	return r;
}

/* The parameter in its new type: bytes, and twice the columns where a byte was two elements. */
static int resize(struct quantised *w, enum wload_dtype to, struct wload_error *err)
{
	struct wload_param *p = &w->c->plan->params[w->index];
	uint64_t *shape;

	if (!checked_mul(p->bytes,
			 (w->format->halves ? 2 : 1) * (wload_dtype_describe(to)->bits / 8),
			 &p->bytes))
		return wload_fail(err, E2BIG, "'%.*s' takes over 2^64 bytes", DRAFT_SHOW(p->name));
	p->dtype = to;
	if (!w->format->halves || !p->rank)
		return 0;
	shape = arena_take(&w->c->plan->arena, p->rank * sizeof(*shape));
	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, p->shape, p->rank * sizeof(*shape));
	shape[p->rank - 1] *= 2;
	p->shape = shape;
	return 0;
}

/* Scales go: they are in the weight's staging area. */
static void take(struct quantised *w)
{
	w->c->states[w->index] = CONVERT_MADE;
	w->c->states[w->found.scale] = CONVERT_TAKEN;
	if (w->second)
		w->c->states[w->found.second] = CONVERT_TAKEN;
}

static int dequantise(struct quantised *w, struct wload_error *err)
{
	enum wload_dtype to = w->c->options->dtype ? w->c->options->dtype : WLOAD_DTYPE_BF16;
	const struct wload_param *operands[STAGING_OPERANDS] = {w->param, &w->scale, w->second};
	struct wload_step *steps = NULL;
	uint32_t count = 0;
	int r = quantised_read(w, err);

	if (r == 0)
		r = staging_lay(&w->c->plan->arena, operands, w->second ? 3 : 2, &w->staging, err);
	if (r == 0)
		r = make_steps(w, &steps, &count, to, err);
	if (r == 0)
		r = resize(w, to, err);
	if (r < 0)
		return r;
	staging_use(&w->c->plan->params[w->index], &w->staging, steps, count);
	take(w);
	return 0;
}

/* What activations were to be scaled by goes where it is of a weight that was made, or is beside
 * one that is quantised in the checkpoint, on whichever rank.
 *
 * Returns 0 or -ENOMEM. */
static int leave_inputs(struct convert *c, struct wload_error *err)
{
	static const char input[] = "input_scale", weight[] = "weight";

	for (uint32_t i = 0; i < c->plan->count; i++) {
		const char *name = c->plan->params[i].name;
		size_t len = strlen(name), stem = len - strlen(input);
		char *beside CLEANUP_FREE = NULL;
		uint32_t made, tensor;

		if (len <= strlen(input) || strcmp(name + stem, input) != 0)
			continue;
		made = by_name_find(&c->names, name, stem, weight);
		beside = malloc(stem + sizeof(weight));
		if (!beside)
			return wload_fail(err, ENOMEM, "out of memory");
		(void)stpcpy(mempcpy(beside, name, stem), weight);
		if ((made != BY_NAME_NONE && c->states[made] == CONVERT_MADE) ||
		    (wload_inventory_find(c->draft->inv, beside, &tensor) == 0 &&
		     is_small(wload_inventory_tensor(c->draft->inv, tensor).dtype)))
			c->states[i] = CONVERT_UNNEEDED;
	}
	return 0;
}

/* MXFP4 as it is stored, of all experts, whose numbers are called and laid out otherwise. */
static bool is_blocks(const struct convert *c, const struct wload_param *p)
{
	size_t len = strlen(p->name), tail = strlen("_blocks");

	return len > tail && !strcmp(p->name + len - tail, "_blocks") &&
	       by_name_find(&c->names, p->name, len - tail, "_scales") != BY_NAME_NONE;
}

/* What has no scale of a name that is known. */
static int check_scaleless(const struct quantised *w, struct wload_error *err)
{
	if (w->param->dtype == WLOAD_DTYPE_F8_E4M3)
		return fail(w, err, "it has no scale beside it");
	if (is_blocks(w->c, w->param))
		return fail(w, err, "its experts are not stacked");
	return 0;
}

int convert_dequantise(struct convert *c, struct wload_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->plan->count; i++) {
		const struct wload_param *p = &c->plan->params[i];
		struct quantised w = {.c = c, .index = i, .param = p};

		if (c->states[i] != CONVERT_STAYS || !is_small(p->dtype))
			continue;
		w.found = convert_scales_of(c, p->name);
		if (w.found.scale == BY_NAME_NONE) {
			r = check_scaleless(&w, err);
			continue;
		}
		w.scale = c->plan->params[w.found.scale];
		if (w.found.second != BY_NAME_NONE)
			w.second = &c->plan->params[w.found.second];
		r = dequantise(&w, err);
	}
	return r < 0 ? r : leave_inputs(c, err);
}
