/* SPDX-License-Identifier: Apache-2.0 */
/* Which format a weight has is told by the types of it and of its scales; what each of its scales
 * is of by the checkpoint's own shapes, as a rank's part of a weight may have less than a block. */

#include <errno.h>
#include <string.h>

#include "loader/plan/quantised.h"
#include "loader/plan/scale.h"

#define DIMS WLOAD_STEP_DIMS

static const struct quantised_format formats[] = {
	{WLOAD_DTYPE_F8_E4M3, WLOAD_DTYPE_F32, WLOAD_DTYPE_BF16, false, false, 0,
	 WLOAD_STEP_DEQUANTISE_FP8},
	{WLOAD_DTYPE_U8, WLOAD_DTYPE_F8_E4M3, WLOAD_DTYPE_F8_E4M3, true, true, 16,
	 WLOAD_STEP_DEQUANTISE_NVFP4},
	{WLOAD_DTYPE_U8, WLOAD_DTYPE_U8, WLOAD_DTYPE_F8_E8M0, false, true, 32,
	 WLOAD_STEP_DEQUANTISE_MXFP4},
};

static int fail(const struct quantised *w, struct wload_error *err, const char *why)
{
	return convert_fail(w->param, "dequantised", err, "%s", why);
}

static int find_format(struct quantised *w, struct wload_error *err)
{
	const struct wload_param *scale = &w->c->plan->params[w->found.scale];

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		w->format = &formats[i];
		if (w->param->dtype != w->format->weight ||
		    (scale->dtype != w->format->scale && scale->dtype != w->format->other_scale) ||
		    w->format->second != (w->second != NULL))
			continue;
		if (w->second && w->second->dtype != WLOAD_DTYPE_F32)
			return convert_fail(w->param, "dequantised", err, "'%.*s' is %s, not F32",
					    DRAFT_SHOW(w->second->name),
					    wload_dtype_describe(w->second->dtype)->name);
		return 0;
	}
	return convert_fail(w->param, "dequantised", err, "no way is known of %s with %s as '%.*s'",
			    wload_dtype_describe(w->param->dtype)->name,
			    wload_dtype_describe(scale->dtype)->name, DRAFT_SHOW(scale->name));
}

/* A tensor as the checkpoint has it: a part of a join, or all that the parameter is. */
static struct wload_tensor first_tensor(const struct convert *c, const struct wload_param *p)
{
	return wload_inventory_tensor(c->draft->inv, p->sources[0].tensor);
}

/* Whether each part has one value, and no more. */
static bool one_value(const struct convert *c, uint32_t scale)
{
	const struct draft_join *join = c->laid[scale].join;
	struct wload_tensor t = join ? draft_part(c->draft, c->draft->parts[join->first_part])
				     : first_tensor(c, &c->plan->params[scale]);

	return t.rank == 0 || (t.rank == 1 && t.shape[0] == 1);
}

/* Leaves out dimensions of 1 that a shape has too many of (modelopt's [a, 1, b, 1]), from the last
 * one on, or adds one (a value a row); gives how many there are then. */
static uint32_t fit_rank(uint64_t *shape, uint32_t rank, uint32_t want)
{
	for (uint32_t d = rank; d-- > 0 && rank > want;)
		if (shape[d] == 1) {
			memmove(shape + d, shape + d + 1, (rank - d - 1) * sizeof(*shape));
			rank--;
		}
	if (rank && rank + 1 == want)
		shape[rank++] = 1;
	return rank;
}

/* The scale's shape in as many dimensions as the weight's. */
static int shape_scale(struct quantised *w, struct wload_error *err)
{
	uint64_t *shape = arena_take(&w->c->scratch, (w->scale.rank + 1) * sizeof(*shape));

	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, w->scale.shape, w->scale.rank * sizeof(*shape));
	w->scale.rank = fit_rank(shape, w->scale.rank, w->param->rank);
	w->scale.shape = shape;
	return w->scale.rank == w->param->rank
		       ? 0
		       : fail(w, err, "its scale's dimensions do not tell what each value is of");
}

/* Block sizes by the checkpoint's shapes. */
static int read_blocks(struct quantised *w, struct wload_error *err)
{
	struct wload_tensor of = first_tensor(w->c, w->param), t = first_tensor(w->c, &w->scale);
	uint64_t *shape;

	if (w->format->block) {
		w->told[0] = 1;
		w->told[1] = w->format->block;
		return 0;
	}
	shape = arena_take(&w->c->scratch, (t.rank + 1) * sizeof(*shape));
	if (!shape)
		return wload_fail(err, ENOMEM, "out of memory");
	memcpy(shape, t.shape, t.rank * sizeof(*shape));
	t.rank = fit_rank(shape, t.rank, of.rank);
	if (of.rank < 2 || t.rank != of.rank)
		return 0;
	for (unsigned int i = 0; i < 2; i++)
		if (!scale_block(of.shape[of.rank - 2 + i], shape[of.rank - 2 + i], &w->told[i]))
			w->told[i] = 0;
	return 0;
}

uint64_t quantised_block(const struct quantised *w, unsigned int dim, uint64_t elements,
			 uint64_t scales)
{
	unsigned int likely = dim == DIMS - 1;

	if (elements == scales)
		return 1;
	for (unsigned int i = 0; i < 2; i++) {
		/* where it is transposed, rows are columns */
		uint64_t block = w->told[i ? !likely : likely];

		if (block > 1 && scales == elements / block + (elements % block != 0))
			return block;
	}
	return scales == 1 ? elements : 0; /* one of all, whatever it is of in the checkpoint */
}

int quantised_read(struct quantised *w, struct wload_error *err)
{
	int r = find_format(w, err);

	if (r < 0)
		return r;
	w->one_a_part = !w->format->block && one_value(w->c, w->found.scale);
	if (w->one_a_part)
		return 0;
	r = shape_scale(w, err);
	return r < 0 ? r : read_blocks(w, err);
}
