/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters that are numbers become those of another type. What scales quantised weights stays: it
 * is the kernels' that read it, and they know one type; and so does what a router is corrected by,
 * which engines add in F32. */

#include <errno.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/plan/convert.h"

static bool is_number(enum wload_dtype dtype)
{
	return dtype == WLOAD_DTYPE_BF16 || dtype == WLOAD_DTYPE_F16 || dtype == WLOAD_DTYPE_F32;
}

/* Whether a name ends so, after a dot or an underscore, or is no more than that. */
static bool stays(const char *name)
{
	static const char *const endings[] = {
		"weight_scale",
		"weight_scale_inv",
		"weight_scale_2",
		"input_scale",
		"k_scale",
		"v_scale",
		"q_scale",
		"pre_quant_scale",
		"activation_scale",
		"output_scale",
		"e_score_correction_bias",
	};
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		size_t tail = strlen(endings[i]);

		if (tail <= len && !strcmp(name + len - tail, endings[i]) &&
		    (tail == len || name[len - tail - 1] == '.' || name[len - tail - 1] == '_'))
			return true;
	}
	return false;
}

static int cast(struct convert *c, uint32_t index, enum wload_dtype to, struct wload_error *err)
{
	struct wload_param *p = &c->plan->params[index];
	uint64_t from_width = wload_dtype_describe(p->dtype)->bits / 8,
		 width = wload_dtype_describe(to)->bits / 8, bytes;
	const struct wload_param *operand = p;
	struct wload_step *steps;
	struct staging staging;
	uint32_t count;
	int r = staging_boxes(&c->plan->arena, p, &c->laid[index], true, &steps, &count, err);

	if (r == 0)
		r = staging_lay(&c->plan->arena, &operand, 1, &staging, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++) {
		if (steps[i].kind != WLOAD_STEP_MOVE || steps[i].from != p->dtype)
			return convert_fail(p, "cast", err, "it is made by '%s'", steps[i].name);
		steps[i].kind = WLOAD_STEP_CAST;
		steps[i].name = "cast";
		steps[i].to = to;
		steps[i].out = steps[i].out / from_width * width;
	}
	if (!checked_mul(p->bytes / from_width, width, &bytes))
		return wload_fail(err, E2BIG, "'%.*s' takes over 2^64 bytes", DRAFT_SHOW(p->name));
	staging_use(p, &staging, steps, count);
	p->bytes = bytes;
	p->dtype = to;
	return 0;
}

int convert_cast(struct convert *c, struct wload_error *err)
{
	enum wload_dtype to = c->options->dtype;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->plan->count; i++) {
		const struct wload_param *p = &c->plan->params[i];

		if (c->states[i] == CONVERT_STAYS && is_number(p->dtype) && p->dtype != to &&
		    !stays(p->name))
			r = cast(c, i, to, err);
	}
	return r;
}
