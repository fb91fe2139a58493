/* SPDX-License-Identifier: Apache-2.0 */
/* Property: with whatever rules parse, a plan has all bytes of each tensor that it uses, and no
 * more of them than it has uses; and a rank's plan, where there can be one, takes bytes of those
 * tensors only, and puts them one behind the other, or where steps find them. */

#include <assert.h>
#include <stdlib.h>

#include "loader/checkpoint/inventory.h"
#include "wloadfs/plan.h"

#define TENSOR_BYTES 96
#define CONFIG	     "{\"t\": true, \"num_attention_heads\": 2, \"two\": 2}"

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len);

static struct wload_inventory *world(void)
{
	static const char *const names[] = {
		"a.q.w",  "a.k.w",    "a.q.b",	     "b.a.k.w",	   "b.a.q.w",
		"h",	  "a.0.q.w",  "a.0.k.w",     "a.1.q.w",	   "a.1.k.w",
		"c.qk.w", "c.0.qk.w", "c.qk.weight", "c.d.weight", "c.d.weight_scale",
		"e.qk",	  "e.d"};
	struct wload_tensor t = {.shape = (const uint64_t[]){4, 6},
				 .rank = 2,
				 .bytes = TENSOR_BYTES,
				 .dtype = WLOAD_DTYPE_F32};
	struct wload_inventory *inv = inventory_new();
	uint32_t pair[2];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++, t.offset += t.bytes) {
		t.name = names[i];
		if (inventory_add(inv, &t, NULL) < 0)
			abort();
	}
	if (inventory_seal(inv, pair, NULL) < 0)
		abort();
	return inv;
}

/* Where the last element of what a step reads or writes is, in bytes. */
static uint64_t last_of(const struct wload_step *s, uint64_t at, const uint64_t *strides)
{
	for (uint32_t d = 0; d < WLOAD_STEP_DIMS; d++) {
		assert(s->size[d]);
		at += (s->size[d] - 1) * strides[d] * sizeof(uint32_t);
	}
	return at;
}

static void check_param(const struct wload_param *p)
{
	uint64_t at = 0, sum = 0;

	for (uint32_t i = 0; i < p->source_count; i++) {
		const struct wload_source *s = &p->sources[i];

		assert(p->step_count ? s->dst_offset >= at : s->dst_offset == at);
		assert(s->rows && s->bytes % s->rows == 0);
		assert(s->src_offset + (s->rows - 1) * s->src_stride + s->bytes / s->rows <=
		       TENSOR_BYTES);
		at = s->dst_offset + s->bytes;
		sum += s->bytes;
	}
	assert(sum == p->bytes && sum == p->source_bytes);
	for (uint32_t i = 0; i < p->step_count; i++) {
		const struct wload_step *s = &p->steps[i];

		assert(last_of(s, s->in, s->in_stride) < p->staged_bytes);
		assert(last_of(s, s->out, s->out_stride) < p->bytes);
	}
	assert(p->step_count ? at <= p->staged_bytes : at == p->bytes);
}

static void check_ranks(const struct wload_inventory *inv, struct wload_plan_options options)
{
	struct wload_plan *plan;

	for (options.rank = 0; options.rank < options.tp; options.rank++) {
		options.ep = options.rank % 2 ? options.tp : 1;
		options.layout = options.rank / 2 % WLOAD_LAYOUT_COUNT;
		options.names = options.tp % WLOAD_NAMES_COUNT;
		if (wload_plan_build(inv, CONFIG, &options, &plan, NULL) < 0)
			continue;
		for (uint32_t i = 0; i < wload_plan_count(plan); i++)
			check_param(wload_plan_param(plan, i));
		wload_plan_free(plan);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len)
{
	struct wload_plan_options options = {0};
	struct wload_inventory *inv;
	struct wload_rules *rules;
	struct wload_plan *plan;
	uint64_t used = 0, uses = 0;

	if (wload_rules_parse((const char *)text, len, "fuzz", &rules, NULL) < 0)
		return 0;
	inv = world();
	options.rules = rules;
	if (wload_plan_build(inv, CONFIG, &options, &plan, NULL) < 0)
		abort();
	for (uint32_t i = 0; i < wload_plan_count(plan); i++)
		check_param(wload_plan_param(plan, i));
	for (uint32_t i = 0; i < wload_inventory_count(inv); i++) {
		used += wload_plan_uses(plan, i) > 0;
		uses += wload_plan_uses(plan, i);
	}
	assert(TENSOR_BYTES * used <= wload_plan_bytes(plan) &&
	       TENSOR_BYTES * uses >= wload_plan_bytes(plan));
	for (options.tp = 2; options.tp <= 8; options.tp++)
		check_ranks(inv, options);
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
	return 0;
}
