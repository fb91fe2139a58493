/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_CONVERT_H
#define WLOAD_PLAN_CONVERT_H

/* What is done to the parameters of a plan that is laid down: values of parts are merged, weights
 * made anew by the merged ones; and, where it is wanted, weights dequantised, scales swizzled,
 * numbers cast. Each is a pass over the parameters (a file each) that gives some of them steps, or
 * rewrites those that they have.
 *
 *   merge -> dequantise -> requantise -> swizzle -> cast -> settle
 *
 * A pass that makes a parameter of several leaves those as they were laid down, so that others can
 * be made of them too; what nothing needs any more goes at the end. */

#include "loader/plan/by_name.h"
#include "loader/plan/lay.h"
#include "loader/plan/staging.h"

/* What became of a parameter. */
enum convert_state {
	CONVERT_STAYS,	  /* it is what it was laid down as, or made of that alone */
	CONVERT_SCALE,	  /* of a quantised weight: no number of its own */
	CONVERT_MADE,	  /* dequantised */
	CONVERT_TAKEN,	  /* it goes: another is made with its bytes */
	CONVERT_UNNEEDED, /* it goes, and no rank needs its tensors */
};

struct convert {
	struct wload_plan *plan;
	const struct draft *draft;
	const struct laid *laid; /* by parameter */
	const struct wload_plan_options *options;
	struct by_name names; /* of the parameters, where a pass needs them */
	uint8_t *states;      /* enum convert_state, by parameter */
	struct arena scratch; /* what no parameter keeps */
};

/* Converts what a plan's options say, and what joins need.
 *
 * laid  by parameter
 *
 * Returns 0, -EOPNOTSUPP when a parameter can't be converted, naming it, -E2BIG when parameters
 * would take over 2^64 bytes, -ENOMEM. */
int convert(struct wload_plan *plan, const struct draft *draft, const struct laid *laid,
	    const struct wload_plan_options *options, struct wload_error *err);

/* The passes. Each returns as above. */
int convert_merge(struct convert *c, struct wload_error *err);
int convert_dequantise(struct convert *c, struct wload_error *err);
int convert_requantise(struct convert *c, struct wload_error *err);
int convert_swizzle(struct convert *c, struct wload_error *err);
int convert_cast(struct convert *c, struct wload_error *err);

/* The parameter that `name` with `ending` behind it is called, or BY_NAME_NONE. */
uint32_t convert_find(const struct convert *c, const char *name, const char *ending);

/* The endings of what scales a weight of that name: "_scale", "_scale_inv" or
 * "_weight_scale", and "_scale_2". */
struct convert_scales {
	uint32_t scale, second; /* parameters, or BY_NAME_NONE */
};

struct convert_scales convert_scales_of(const struct convert *c, const char *name);

/* Fails with "'NAME' can't be WHAT: …". */
int convert_fail(const struct wload_param *param, const char *what, struct wload_error *err,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Elements of a 4-bit type, two a byte, in a box of those bytes; false: it is none of whole rows.
 */
bool convert_to_halves(struct wload_step *box);

#endif
