/* SPDX-License-Identifier: Apache-2.0 */
/* The schemes, as one table (plan.h, 10): what tells them, and what becomes of each leaf.
 *
 * Sources: TensorRT-LLM's modules/linear.py (load_weights_fused_qkv_linear of FP8QDQLinearMethod
 * and NVFP4LinearMethod), models/modeling_deepseekv3.py (the fused kv_a_proj_with_mqa), and
 * modules/fused_moe/quantization.py. Of what "equal" says there is an assertion there. */

#include <string.h>

#include "loader/plan/scheme.h"

#define SCHEME_LEAVES 4

struct scheme {
	enum wload_dtype weight;
	const char *told_by; /* a leaf that each module has one value of */
	struct {
		const char *leaf;
		enum wload_step_kind fused, requantised, stacked;
		bool over_all; /* stacked */
	} leaves[SCHEME_LEAVES];
};

static const struct scheme schemes[] = {
	{WLOAD_DTYPE_U8, /* NVFP4 */
	 "weight_scale_2",
	 {{"weight", WLOAD_STEP_MOVE, WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT, WLOAD_STEP_MOVE, false},
	  {"weight_scale", WLOAD_STEP_MOVE, WLOAD_STEP_REQUANTISE_NVFP4_SCALE, WLOAD_STEP_MOVE,
	   false},
	  {"weight_scale_2", WLOAD_STEP_EQUAL, WLOAD_STEP_MAX, WLOAD_STEP_MAX, false},
	  {"input_scale", WLOAD_STEP_EQUAL, WLOAD_STEP_MAX, WLOAD_STEP_MAX, true}}},
	{WLOAD_DTYPE_F8_E4M3, /* one scale a tensor */
	 "weight_scale",
	 {{"weight", WLOAD_STEP_REQUANTISE_FP8, WLOAD_STEP_REQUANTISE_FP8,
	   WLOAD_STEP_REQUANTISE_FP8, false},
	  {"weight_scale", WLOAD_STEP_MAX, WLOAD_STEP_MAX, WLOAD_STEP_MAX, false},
	  {"input_scale", WLOAD_STEP_MAX, WLOAD_STEP_MAX, WLOAD_STEP_MAX, true}}},
};

/* The parts of a leaf, or NULL. */
static const uint32_t *parts_of(const struct group *g, const char *leaf)
{
	for (size_t i = 0; i < g->rule->leaves.count; i++)
		if (!strcmp(g->rule->leaves.items[i], leaf))
			return group_leaf(g, i);
	return NULL;
}

/* The first part of a leaf, or GROUP_NONE. */
static uint32_t first_part(const struct group *g, const char *leaf)
{
	const uint32_t *parts = parts_of(g, leaf);

	return parts ? parts[0] : GROUP_NONE;
}

/* Whether each part of a leaf is one value that may be merged with the others. */
static bool one_each(const struct draft *draft, const struct group *g, const uint32_t *parts)
{
	for (size_t i = 0; i < (size_t)g->experts * g->from; i++) {
		struct wload_tensor t;

		if (parts[i] == GROUP_NONE)
			return false;
		t = draft_part(draft, parts[i]);
		if ((t.dtype != WLOAD_DTYPE_F32 && t.dtype != WLOAD_DTYPE_BF16) || t.rank > 1 ||
		    (t.rank == 1 && t.shape[0] != 1))
			return false;
	}
	return true;
}

const struct scheme *scheme_of(const struct draft *draft, const struct group *group)
{
	uint32_t weight = first_part(group, "weight");

	for (size_t i = 0; weight != GROUP_NONE && i < sizeof(schemes) / sizeof(*schemes); i++) {
		const uint32_t *told = parts_of(group, schemes[i].told_by);

		if (draft_part(draft, weight).dtype != schemes[i].weight)
			continue;
		/* what the weights are made anew by has to be F32 */
		if (told && one_each(draft, group, told) &&
		    (schemes[i].weight != WLOAD_DTYPE_F8_E4M3 ||
		     draft_part(draft, told[0]).dtype == WLOAD_DTYPE_F32))
			return &schemes[i];
	}
	return NULL;
}

/* Whether a group's weights can be made anew of other scales: rows are whole blocks of 16 elements,
 * two a byte, and what scales those is F32. */
static bool requantisable(const struct draft *draft, const struct group *g)
{
	uint32_t weight = first_part(g, "weight"), scale = first_part(g, "weight_scale"),
		 second = first_part(g, "weight_scale_2");
	struct wload_tensor w, s;

	if (scale == GROUP_NONE || second == GROUP_NONE)
		return false;
	w = draft_part(draft, weight);
	s = draft_part(draft, scale);
	return w.rank == 2 && s.rank == 2 && s.dtype == WLOAD_DTYPE_F8_E4M3 &&
	       s.shape[0] == w.shape[0] && w.shape[1] % 8 == 0 && s.shape[1] == w.shape[1] / 8 &&
	       draft_part(draft, second).dtype == WLOAD_DTYPE_F32;
}

struct scheme_way scheme_way(const struct scheme *scheme, const struct draft *draft,
			     const struct group *group, size_t leaf)
{
	const struct rules_fuse *rule = group->rule;
	const char *name = rule->leaves.items[leaf];
	struct scheme_way way = {.kind = WLOAD_STEP_MOVE};
	size_t i;

	if (!scheme || group_leaf(group, leaf)[0] == GROUP_NONE)
		return way;
	for (i = 0; i < SCHEME_LEAVES && scheme->leaves[i].leaf; i++)
		if (!strcmp(scheme->leaves[i].leaf, name))
			break;
	if (i == SCHEME_LEAVES || !scheme->leaves[i].leaf)
		return way;
	if (rule->stacked) {
		way.kind = scheme->leaves[i].stacked;
		way.over_all = scheme->leaves[i].over_all;
	} else {
		way.kind = rule->requantise && requantisable(draft, group)
				   ? scheme->leaves[i].requantised
				   : scheme->leaves[i].fused;
	}
	if ((way.kind == WLOAD_STEP_MAX || way.kind == WLOAD_STEP_EQUAL) &&
	    !one_each(draft, group, group_leaf(group, leaf)))
		way = (struct scheme_way){.kind = WLOAD_STEP_MOVE};
	if (group->from == 1 && !way.over_all) /* each is what it becomes */
		way.kind = WLOAD_STEP_MOVE;
	return way;
}
