/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised checkpoints of random shapes and types, with every conversion: whatever plan there is,
 * its steps read staged bytes only, and make each byte of their parameter once; what they do not
 * make begins as zeros. SEED=N and COUNT=N choose which, and how many. */

#include <assert.h>
#include <stdlib.h>

#include "plan_world.h"
#include "tap.h"

#define RULES                                                                                \
	"{\"family\": \"x\", \"model_types\": [\"x\"], "                                     \
	"\"fuse\": [{\"into\": \"gu\", \"from\": [\"g\", \"u\"], \"within\": \"m\", "        \
	"\"requantise\": true}], \"stack\": [{\"into\": \"w\", \"from\": [\"g\", \"u\"], "   \
	"\"within\": \"e\", \"along\": \"column\", \"every_rank\": [\"input_scale\"]}], "    \
	"\"split\": [{\"modules\": [\"g\"], \"along\": \"column\"}, {\"modules\": [\"u\"], " \
	"\"along\": \"column\"}, {\"modules\": [\"x\"], \"along\": \"row\"}]}"

static uint32_t below(uint64_t *state, uint32_t end)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33) % end;
}

static const char *any_of(uint64_t *state, const char *const *words, uint32_t count)
{
	return words[below(state, count)];
}

/* How one module of a world is quantised; all of a world's are. */
struct module {
	const char *weight, *scale, *leaf, *second, *input; /* types; NULL: none */
	uint64_t rows, columns, scale_shape[2];
	uint32_t scale_rank;
};

/* NVFP4, MXFP4, or FP8 with one value. */
static void make_sense(struct module *m, uint32_t how)
{
	m->columns *= 4;
	m->weight = how == 2 ? "F8_E4M3" : "U8";
	m->scale = how == 0 ? "F8_E4M3" : how == 1 ? "U8" : "F32";
	m->leaf = "weight_scale";
	m->second = how == 0 ? "F32" : NULL;
	m->scale_rank = how == 2 ? 0 : 2;
	m->scale_shape[0] = m->rows;
	m->scale_shape[1] = m->columns / (how == 0 ? 8 : 16);
}

static struct module any_module(uint64_t *state)
{
	static const char *const weights[] = {"F8_E4M3", "U8", "BF16", "I8"};
	static const char *const scales[] = {"F32", "BF16", "F8_E4M3", "U8", NULL};
	static const char *const leaves[] = {"weight_scale", "weight_scale_inv"};
	static const char *const seconds[] = {"F32", "BF16", NULL};
	uint32_t shape = below(state, 7);
	struct module m = {.weight = any_of(state, weights, 4),
			   .scale = any_of(state, scales, 5),
			   .leaf = any_of(state, leaves, 2),
			   .second = any_of(state, seconds, 3),
			   .input = any_of(state, seconds, 3),
			   .rows = below(state, 300),
			   .columns = 8 * below(state, 20)};
	const uint64_t shapes[][2] = {
		{1, 1},
		{1, 1},
		{m.rows, 1},
		{(m.rows + 127) / 128, (m.columns + 127) / 128},
		{m.rows, m.columns / 8},
		{m.rows, m.columns / 16},
		{below(state, 4), below(state, 4)},
	};

	memcpy(m.scale_shape, shapes[shape], sizeof(m.scale_shape));
	m.scale_rank = shape < 3 ? shape : 2;
	if (shape == 2)
		m.scale_rank = 1 + below(state, 2);
	if (below(state, 2) == 0) /* one that makes sense */
		make_sense(&m, below(state, 3));
	return m;
}

static void add(struct wload_inventory *inv, const char *module, const char *leaf,
		const char *dtype, const uint64_t *shape, uint32_t rank, uint64_t *offset)
{
	char name[64];

	if (!dtype)
		return;
	(void)snprintf(name, sizeof(name), "%s.%s", module, leaf);
	world_add(inv, name, dtype, shape, rank, offset);
}

static struct wload_inventory *any_world(uint64_t *state)
{
	static const char *const names[] = {"m.g", "m.u", "e.0.g", "e.0.u", "e.1.g", "e.1.u", "x"};
	struct wload_inventory *inv = inventory_new();
	struct module m = any_module(state);
	uint64_t offset = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		add(inv, names[i], "weight", m.weight, (const uint64_t[]){m.rows, m.columns}, 2,
		    &offset);
		add(inv, names[i], m.leaf, m.scale, m.scale_shape, m.scale_rank, &offset);
		add(inv, names[i], "weight_scale_2", m.second, NULL, 0, &offset);
		add(inv, names[i], "input_scale", m.input, NULL, 0, &offset);
	}
	return world_sealed(inv);
}

/* Halves of bytes that an element takes, where a step reads and where it writes. */
static unsigned int in_halves(const struct wload_step *s)
{
	switch (s->kind) {
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		return 1;
	default:
		return wload_dtype_describe(s->from)->bits / 4;
	}
}

static unsigned int out_halves(const struct wload_step *s)
{
	return s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT
		       ? 1
		       : wload_dtype_describe(s->to)->bits / 4;
}

/* Elements behind an index that it needs too. */
static uint64_t behind(const struct wload_step *s)
{
	if (s->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE)
		return 15;
	return s->kind == WLOAD_STEP_MAX || s->kind == WLOAD_STEP_EQUAL
		       ? (s->reduce - 1) * s->reduce_stride
		       : 0;
}

static uint64_t largest_end(const struct wload_step *s)
{
	uint64_t second = s->scale_2 + 4,
		 all = s->reduce ? (s->reduce - 1) * s->reduce_stride * 4 : 0;

	switch (s->kind) {
	case WLOAD_STEP_DEQUANTISE_NVFP4:
		return second;
	case WLOAD_STEP_REQUANTISE_FP8:
		return second + all;
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		return second > s->all_scale_2 + 4 + all ? second : s->all_scale_2 + 4 + all;
	default:
		return 0;
	}
}

static bool is_scaled(const struct wload_step *s)
{
	return s->kind != WLOAD_STEP_MOVE && s->kind != WLOAD_STEP_CAST &&
	       s->kind != WLOAD_STEP_MAX && s->kind != WLOAD_STEP_EQUAL;
}

/* One index of a step. */
static const char *index_wrong(const struct wload_param *p, const struct wload_step *s,
			       uint64_t index, uint8_t *made)
{
	uint64_t in = behind(s), out = 0, scale = 0;

	for (uint32_t d = WLOAD_STEP_DIMS; d-- > 0; index /= s->size[d]) {
		uint64_t i = index % s->size[d];

		in += i * s->in_stride[d];
		out += i * s->out_stride[d];
		scale += i / s->block[d] * s->scale_stride[d];
	}
	if (2 * s->in + (in + 1) * in_halves(s) > 2 * p->staged_bytes)
		return "it reads past the staged bytes";
	if (is_scaled(s) &&
	    s->scale + (scale + 1) * wload_dtype_describe(s->scale_dtype)->bits / 8 >
		    p->staged_bytes)
		return "its scale is past the staged bytes";
	for (unsigned int h = 0; h < out_halves(s); h++) {
		uint64_t at = 2 * s->out + out * out_halves(s) + h;

		if (at >= 2 * p->bytes || made[at]++)
			return "it writes outside, or twice";
	}
	return NULL;
}

static const char *steps_wrong(const struct wload_param *p)
{
	uint8_t *made = calloc(p->bytes + 1, 2);
	const char *wrong = NULL;

	for (uint32_t i = 0; i < p->step_count && !wrong; i++) {
		const struct wload_step *s = &p->steps[i];
		uint64_t count = 1;

		for (uint32_t d = 0; d < WLOAD_STEP_DIMS; d++) {
			count *= s->size[d];
			if (s->block[d] == 0)
				wrong = "a block is 0";
		}
		if (count == 0 || largest_end(s) > p->staged_bytes)
			wrong = "it makes nothing, or its values are past the staged bytes";
		for (uint64_t n = 0; n < count && !wrong; n++)
			wrong = index_wrong(p, s, n, made);
	}
	for (uint64_t i = 0; p->step_count && !p->zeroed && i < 2 * p->bytes && !wrong; i++)
		if (!made[i])
			wrong = "not all of it is made";
	free(made);
	return wrong;
}

static const char *param_wrong(const struct wload_param *p)
{
	uint64_t bits = wload_dtype_describe(p->dtype)->bits, at = 0, sum = 0;

	for (uint32_t d = 0; d < p->rank; d++)
		bits *= p->shape[d];
	for (uint32_t i = 0; i < p->source_count; i++) {
		if (p->step_count ? p->sources[i].dst_offset < at : p->sources[i].dst_offset != at)
			return "its sources overlap";
		at = p->sources[i].dst_offset + p->sources[i].bytes;
		sum += p->sources[i].bytes;
	}
	if (bits / 8 != p->bytes || sum != p->source_bytes ||
	    at > (p->step_count ? p->staged_bytes : p->bytes))
		return "its bytes are not those of its shape, or its sources";
	return steps_wrong(p);
}

/* What there was of all that was tried. */
struct seen {
	uint32_t refused, plans, steps[WLOAD_STEP_EQUAL + 1];
};

static bool try_one(uint64_t seed, const struct wload_rules *rules, struct seen *seen)
{
	uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15);
	static const enum wload_dtype dtypes[] = {WLOAD_DTYPE_BOOL, WLOAD_DTYPE_F16,
						  WLOAD_DTYPE_F32};
	struct wload_inventory *inv = any_world(&state);
	struct wload_plan_options options = {.rules = rules, .tp = 1 + below(&state, 3)};
	struct wload_plan *plan = NULL;
	const char *wrong = NULL;

	options.rank = below(&state, options.tp);
	options.ep = options.tp == 2 ? 1 + below(&state, 2) : 1;
	options.dequantise = below(&state, 3) == 0;
	options.swizzle = below(&state, 2);
	options.dtype = dtypes[below(&state, 3)];
	if (wload_plan_build(inv, NULL, &options, &plan, NULL) < 0) {
		seen->refused++;
		inventory_free(inv);
		return true;
	}
	seen->plans++;
	for (uint32_t i = 0; i < wload_plan_count(plan) && !wrong; i++) {
		const struct wload_param *p = wload_plan_param(plan, i);

		for (uint32_t s = 0; s < p->step_count; s++)
			seen->steps[p->steps[s].kind]++;
		wrong = param_wrong(p);
		if (wrong)
			printf("# SEED=%ju COUNT=1: '%s': %s\n", (uintmax_t)seed, p->name, wrong);
	}
	wload_plan_free(plan);
	inventory_free(inv);
	return !wrong;
}

static uint64_t number_of(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : fallback;
}

int main(void)
{
	uint64_t first = number_of("SEED", 1), count = number_of("COUNT", 600);
	struct wload_rules *rules = NULL;
	struct seen seen = {0};
	struct tap tap = {0};
	bool fine = true, all = true;

	if (wload_rules_parse(RULES, strlen(RULES), "x", &rules, NULL) < 0)
		world_wrong("the rules do not parse");
	for (uint64_t i = 0; i < count && fine; i++)
		fine = try_one(first + i, rules, &seen);
	ok(&tap, fine, "steps of %u plans read what is staged and make all, %u were refused",
	   seen.plans, seen.refused);
	for (int kind = 0; kind <= WLOAD_STEP_EQUAL; kind++)
		all &= seen.steps[kind] > 0;
	ok(&tap, count < 600 || all, "there were steps of each kind");
	wload_rules_free(rules);
	return tap_done(&tap);
}
