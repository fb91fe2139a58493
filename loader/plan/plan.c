/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the plan in two steps: the rules claim tensors in a draft (draft.h), then one walk over
 * the tensors in disk order lays the parameters down. Every parameter and source is in one of two
 * arrays of exactly the right size: 88 bytes a tensor, and 4 for its uses. Names and shapes of
 * parameters that are one tensor are the inventory's own. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/plan/builtin.h"
#include "loader/plan/config.h"
#include "loader/plan/draft.h"
#include "loader/plan/fuse.h"
#include "loader/plan/rules.h"

struct wload_plan {
	struct arena arena; /* names, shapes, family, note */
	struct wload_param *params;
	struct wload_source *sources; /* of all parameters, in their order */
	uint32_t *uses;		      /* by tensor */
	uint32_t tensor_count, count;
	uint64_t bytes;
	const char *family;
	const char *note; /* NULL: nothing to say */
};

static void cleanup_plan(struct wload_plan **plan)
{
	wload_plan_free(*plan);
}

static void cleanup_rules(struct wload_rules **rules)
{
	wload_rules_free(*rules);
}

static void cleanup_config(struct config **config)
{
	config_free(*config);
}

static void cleanup_draft(struct draft *draft)
{
	draft_done(draft);
}

/* Chooses the rules that apply, or none with a note that says why.
 *
 * ret_owned  built-in rules that were parsed for this plan, or NULL
 * ret_rules  NULL: none apply */
static int choose_rules(struct draft *draft, const struct config *config,
			const struct wload_rules *rules, struct wload_rules **ret_owned,
			const struct wload_rules **ret_rules, struct wload_error *err)
{
	const char *type = config_model_type(config);
	int r;

	*ret_owned = NULL;
	*ret_rules = NULL;
	if (rules && !rules->builtin) {
		*ret_rules = rules;
		return 0;
	}
	if (!type) {
		draft_note(draft, "%s, so nothing is fused",
			   config ? "config.json has no 'model_type'"
				  : "no config.json could be read");
		return 0;
	}
	r = builtin_rules_for(type, ret_owned, err);
	if (r < 0)
		return r;
	if (!*ret_owned)
		draft_note(draft, "no rules for model type '%.*s', so nothing is fused",
			   DRAFT_SHOW(type));
	*ret_rules = *ret_owned;
	return 0;
}

static int apply_rules(struct draft *draft, const struct wload_rules *rules,
		       const struct config *config, struct wload_error *err)
{
	const struct rules_tied *tied;
	size_t i;
	int r;

	for (i = 0; i < rules->tied_count; i++) {
		tied = &rules->tied[i];
		tied_apply(draft, tied, config_flag(config, tied->when, tied->fallback));
	}
	for (i = 0; i < rules->fuse_count; i++) {
		r = fuse_apply(draft, &rules->fuse[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Adds a tensor as the next source of a parameter. */
static int add_source(struct wload_plan *plan, const struct draft *draft, uint32_t tensor,
		      struct wload_source *source, struct wload_param *param,
		      struct wload_error *err)
{
	uint64_t bytes = wload_inventory_tensor(draft->inv, tensor).bytes;

	*source = (struct wload_source){
		.tensor = tensor, .rows = 1, .dst_offset = param->bytes, .bytes = bytes};
	if (!checked_add(plan->bytes, bytes, &plan->bytes))
		return wload_fail(err, E2BIG, "the parameters take over 2^64 bytes");
	param->bytes += bytes; /* at most plan->bytes */
	param->source_count++;
	plan->uses[tensor]++;
	return 0;
}

static void start_single(struct wload_param *param, const struct draft *draft, uint32_t tensor)
{
	struct wload_tensor t = wload_inventory_tensor(draft->inv, tensor);

	*param = (struct wload_param){
		.name = t.name, .shape = t.shape, .rank = t.rank, .dtype = t.dtype};
}

static void start_joined(struct wload_param *param, const struct draft *draft,
			 const struct draft_join *join)
{
	uint32_t first = draft->parts[join->first_part];

	*param = (struct wload_param){
		.name = join->name,
		.shape = join->shape,
		.rank = join->rank,
		.dtype = wload_inventory_tensor(draft->inv, first).dtype,
	};
}

/* Lays down the parameter of which this tensor is the first source, if it is one's.
 *
 * source  the next free one; moved past those that were taken */
static int lay_down(struct wload_plan *plan, const struct draft *draft, uint32_t tensor,
		    struct wload_source **source, struct wload_error *err)
{
	const uint32_t owner = draft->owner[tensor], *parts = &tensor;
	struct wload_param *param = &plan->params[plan->count];
	uint32_t i, count = 1;
	int r;

	if (owner == DRAFT_LEFT_OUT)
		return 0;
	if (owner != DRAFT_FREE) {
		parts = draft->parts + draft->joins[owner].first_part;
		count = draft->joins[owner].parts;
		if (parts[0] != tensor)
			return 0;
		start_joined(param, draft, &draft->joins[owner]);
	} else {
		start_single(param, draft, tensor);
	}
	param->sources = *source;
	for (i = 0; i < count; i++) {
		r = add_source(plan, draft, parts[i], (*source)++, param, err);
		if (r < 0)
			return r;
	}
	plan->count++;
	return 0;
}

static void *zeroed(size_t count, size_t bytes)
{
	return calloc(count ? count : 1, bytes);
}

static int lay_down_all(struct wload_plan *plan, const struct draft *draft, struct wload_error *err)
{
	size_t used = (size_t)plan->tensor_count - draft->left_out;
	struct wload_source *source;
	uint32_t tensor;
	int r;

	plan->params = zeroed(used - draft->part_count + draft->join_count, sizeof(*plan->params));
	plan->sources = zeroed(used, sizeof(*plan->sources));
	plan->uses = zeroed(plan->tensor_count, sizeof(*plan->uses));
	if (!plan->params || !plan->sources || !plan->uses)
		return wload_fail(err, ENOMEM, "out of memory");
	source = plan->sources;
	for (tensor = 0; tensor < plan->tensor_count; tensor++) {
		r = lay_down(plan, draft, tensor, &source, err);
		if (r < 0)
			return r;
	}
	assert(source == plan->sources + used);
	return 0;
}

static int keep_words(struct wload_plan *plan, const struct draft *draft, const char *family,
		      struct wload_error *err)
{
	char text[sizeof(draft->note.text) + 32];

	plan->family = arena_copy(&plan->arena, family);
	if (!plan->family)
		return wload_fail(err, ENOMEM, "out of memory");
	if (!draft->note.text[0])
		return 0;
	(void)stpcpy(text, draft->note.text);
	if (draft->note.more)
		(void)snprintf(text, sizeof(text), "%s (and %" PRIu32 " more)", draft->note.text,
			       draft->note.more);
	plan->note = arena_copy(&plan->arena, text);
	return plan->note ? 0 : wload_fail(err, ENOMEM, "out of memory");
}

int wload_plan_build(const struct wload_inventory *inv, const char *config_text,
		     const struct wload_rules *rules, struct wload_plan **ret_plan,
		     struct wload_error *err)
{
	struct wload_plan *plan CLEANUP(cleanup_plan) = calloc(1, sizeof(*plan));
	struct wload_rules *parsed CLEANUP(cleanup_rules) = NULL;
	struct config *config CLEANUP(cleanup_config) = NULL;
	struct draft draft CLEANUP(cleanup_draft) = {0};
	const struct wload_rules *chosen;
	int r;

	if (!plan)
		return wload_fail(err, ENOMEM, "out of memory");
	plan->tensor_count = wload_inventory_count(inv);
	r = config_parse(config_text, &config, err);
	if (r == 0)
		r = draft_init(&draft, inv, &plan->arena, err);
	if (r == 0)
		r = choose_rules(&draft, config, rules, &parsed, &chosen, err);
	if (r == 0 && chosen)
		r = apply_rules(&draft, chosen, config, err);
	if (r == 0)
		r = lay_down_all(plan, &draft, err);
	if (r == 0)
		r = keep_words(plan, &draft, chosen ? chosen->family : "none", err);
	if (r < 0)
		return r;
	*ret_plan = TAKE_PTR(plan);
	return 0;
}

void wload_plan_free(struct wload_plan *plan)
{
	if (!plan)
		return;
	arena_free(&plan->arena);
	free(plan->params);
	free(plan->sources);
	free(plan->uses);
	free(plan);
}

uint32_t wload_plan_count(const struct wload_plan *plan)
{
	return plan->count;
}

const struct wload_param *wload_plan_param(const struct wload_plan *plan, uint32_t index)
{
	assert(index < plan->count);
	return &plan->params[index];
}

uint64_t wload_plan_bytes(const struct wload_plan *plan)
{
	return plan->bytes;
}

uint32_t wload_plan_uses(const struct wload_plan *plan, uint32_t tensor)
{
	assert(tensor < plan->tensor_count);
	return plan->uses[tensor];
}

const char *wload_plan_family(const struct wload_plan *plan)
{
	return plan->family;
}

const char *wload_plan_note(const struct wload_plan *plan)
{
	return plan->note;
}
