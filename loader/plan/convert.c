/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the passes, what they share, and what is left at the end: parameters that another is
 * made with are gone, and what each tensor is needed for is counted anew. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/convert.h"

static void convert_done(struct convert *c)
{
	by_name_done(&c->names);
	arena_free(&c->scratch);
	free(c->states);
}

int convert_fail(const struct wload_param *param, const char *what, struct wload_error *err,
		 const char *fmt, ...)
{
	char why[WLOAD_ERROR_TEXT / 2];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return wload_fail(err, EOPNOTSUPP, "'%.*s' can't be %s: %s", DRAFT_SHOW(param->name), what,
			  why);
}

uint32_t convert_find(const struct convert *c, const char *name, const char *ending)
{
	return by_name_find(&c->names, name, strlen(name), ending);
}

struct convert_scales convert_scales_of(const struct convert *c, const char *name)
{
	struct convert_scales found = {.scale = convert_find(c, name, "_scale"),
				       .second = convert_find(c, name, "_scale_2")};

	if (found.scale == BY_NAME_NONE)
		found.scale = convert_find(c, name, "_scale_inv");
	if (found.scale == BY_NAME_NONE) /* of a tensor of all experts, as Llama-4's */
		found.scale = convert_find(c, name, "_weight_scale");
	return found;
}

bool convert_to_halves(struct wload_step *box)
{
	const unsigned int last = WLOAD_STEP_DIMS - 1;

	if (box->in_stride[last] != 1 || box->out_stride[last] != 1)
		return false;
	for (unsigned int d = 0; d < last; d++) {
		box->in_stride[d] *= 2;
		box->out_stride[d] *= 2;
	}
	box->size[last] *= 2;
	return true;
}

/* A join that asks for some kind of step. */
static bool joins_need(const struct draft *draft, bool weights_only)
{
	for (size_t i = 0; i < draft->join_count; i++) {
		enum wload_step_kind kind = draft->joins[i].made_by;

		if (kind != WLOAD_STEP_MOVE &&
		    !(weights_only && (kind == WLOAD_STEP_MAX || kind == WLOAD_STEP_EQUAL)))
			return true;
	}
	return false;
}

/* Counts how many parameters need each tensor. A tensor that none needs now may be needed by other
 * ranks still, but for what no rank needs. */
static void count_uses(struct wload_plan *plan)
{
	for (uint32_t t = 0; t < plan->tensor_count; t++)
		if (plan->uses[t] != 0)
			plan->uses[t] = LAY_ELSEWHERE;
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct wload_param *p = &plan->params[i];

		for (uint32_t s = 0; s < p->source_count; s++) {
			uint32_t t = p->sources[s].tensor;

			if (s > 0 && p->sources[s - 1].tensor == t)
				continue;
			if (plan->uses[t] == LAY_ELSEWHERE)
				plan->uses[t] = 0;
			plan->uses[t]++;
		}
	}
}

/* No rank needs the tensors of a parameter, nor those that a join has of other experts. */
static void leave_unused(struct convert *c, uint32_t index)
{
	const struct draft_join *join = c->laid[index].join;
	const struct wload_param *p = &c->plan->params[index];
	uint32_t parts = join ? join->parts * (join->experts ? join->experts : 1) : 0;

	for (uint32_t s = 0; s < p->source_count; s++)
		c->plan->uses[p->sources[s].tensor] = 0;
	for (uint32_t i = 0; i < parts; i++)
		c->plan->uses[draft_tensor(c->draft, c->draft->parts[join->first_part + i])] = 0;
}

static int settle(struct convert *c, struct wload_error *err)
{
	struct wload_plan *plan = c->plan;
	uint32_t kept = 0;

	plan->bytes = 0;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (c->states[i] == CONVERT_UNNEEDED)
			leave_unused(c, i);
		if (c->states[i] == CONVERT_UNNEEDED || c->states[i] == CONVERT_TAKEN)
			continue;
		if (!checked_add(plan->bytes, plan->params[i].bytes, &plan->bytes))
			return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
		plan->params[kept++] = plan->params[i];
	}
	plan->count = kept;
	count_uses(plan);
	return 0;
}

/* Tells the scales of quantised weights, which are at most a byte an element, from numbers. */
static void mark_scales(struct convert *c)
{
	for (uint32_t i = 0; i < c->plan->count; i++) {
		const struct wload_param *p = &c->plan->params[i];
		struct convert_scales found;

		if (wload_dtype_describe(p->dtype)->bits > 8)
			continue;
		found = convert_scales_of(c, p->name);
		if (found.scale != BY_NAME_NONE)
			c->states[found.scale] = CONVERT_SCALE;
		if (found.second != BY_NAME_NONE)
			c->states[found.second] = CONVERT_SCALE;
	}
}

static int run_passes(struct convert *c, struct wload_error *err)
{
	const struct wload_plan_options *o = c->options;
	bool weights = joins_need(c->draft, true);
	int r = convert_merge(c, err);

	if (r == 0 && (weights || o->dequantise || o->swizzle || o->dtype))
		r = by_name_init(&c->names, c->plan->params, c->plan->count, err);
	if (r == 0 && (o->dequantise || o->dtype))
		mark_scales(c);
	if (r == 0 && o->dequantise)
		r = convert_dequantise(c, err);
	if (r == 0 && weights)
		r = convert_requantise(c, err);
	if (r == 0 && o->swizzle)
		r = convert_swizzle(c, err);
	if (r == 0 && o->dtype)
		r = convert_cast(c, err);
	return r;
}

int convert(struct wload_plan *plan, const struct draft *draft, const struct laid *laid,
	    const struct wload_plan_options *options, struct wload_error *err)
{
	struct convert c CLEANUP(convert_done) = {
		.plan = plan, .draft = draft, .laid = laid, .options = options};
	int r;

	if (!options->dequantise && !options->swizzle && !options->dtype &&
	    !joins_need(draft, false))
		return 0;
	c.states = calloc(plan->count ? plan->count : 1, sizeof(*c.states));
	if (!c.states)
		return wload_fail(err, ENOMEM, "out of memory");
	r = run_passes(&c, err);
	return r < 0 ? r : settle(&c, err);
}
