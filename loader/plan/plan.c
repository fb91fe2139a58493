/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the plan in two steps: the rules claim tensors in a draft (draft.h), then the parameters
 * are laid down (lay.h). */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/builtin.h"
#include "loader/plan/config.h"
#include "loader/plan/convert.h"
#include "loader/plan/draft.h"
#include "loader/plan/fuse.h"
#include "loader/plan/lay.h"
#include "loader/plan/rules.h"

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

/* No rules: one rank can do without, with a note. */
static int do_without(struct draft *draft, const struct wload_plan *plan, const char *why,
		      struct wload_error *err)
{
	if (plan->tp > 1)
		return wload_fail(err, EOPNOTSUPP,
				  "%s, so what rank %" PRIu32 " of %" PRIu32 " has is unknown", why,
				  plan->rank, plan->tp);
	draft_note(draft, "%s, so nothing is fused", why);
	return 0;
}

/* Chooses the rules that apply, or none.
 *
 * ret_owned  built-in rules that were parsed for this plan, or NULL
 * ret_rules  NULL: none apply */
static int choose_rules(struct draft *draft, const struct wload_plan *plan,
			const struct config *config, const struct wload_rules *rules,
			struct wload_rules **ret_owned, const struct wload_rules **ret_rules,
			struct wload_error *err)
{
	const char *type = config_model_type(config);
	char why[WLOAD_ERROR_TEXT / 2];
	int r;

	*ret_owned = NULL;
	*ret_rules = NULL;
	if (rules && !rules->builtin) {
		*ret_rules = rules;
		return 0;
	}
	if (!type)
		return do_without(draft, plan,
				  config ? "config.json has no 'model_type'"
					 : "no config.json could be read",
				  err);
	r = builtin_rules_for(type, ret_owned, err);
	if (r < 0)
		return r;
	*ret_rules = *ret_owned;
	if (*ret_rules)
		return 0;
	(void)snprintf(why, sizeof(why), "no rules for model type '%.*s'", DRAFT_SHOW(type));
	return do_without(draft, plan, why, err);
}

static int check_options(const struct wload_plan *plan, const struct wload_plan_options *options,
			 struct wload_error *err)
{
	if (plan->tp > WLOAD_TP_MAX)
		return wload_fail(err, E2BIG, "%" PRIu32 " ranks are over our limit of %d",
				  plan->tp, WLOAD_TP_MAX);
	if (plan->rank >= plan->tp)
		return wload_fail(err, EINVAL,
				  "rank %" PRIu32 " is not one of %" PRIu32 ", the first is 0",
				  plan->rank, plan->tp);
	if (plan->tp % plan->ep != 0)
		return wload_fail(err, EINVAL,
				  "experts are shared among ep %" PRIu32
				  ", which is no divisor of the %" PRIu32 " ranks",
				  plan->ep, plan->tp);
	if (plan->layout >= WLOAD_LAYOUT_COUNT)
		return wload_fail(err, EINVAL, "layout %u is not below %d", plan->layout,
				  WLOAD_LAYOUT_COUNT);
	if (plan->names >= WLOAD_NAMES_COUNT)
		return wload_fail(err, EINVAL, "names %u is not below %d", plan->names,
				  WLOAD_NAMES_COUNT);
	if (options->dequantise && options->swizzle)
		return wload_fail(err, EINVAL,
				  "dequantise leaves no block scales that swizzle could lay out");
	if (options->dtype && options->dtype != WLOAD_DTYPE_BF16 &&
	    options->dtype != WLOAD_DTYPE_F16 && options->dtype != WLOAD_DTYPE_F32)
		return wload_fail(err, EINVAL, "data type %u is none of BF16, F16, F32",
				  options->dtype);
	return 0;
}

/* With several ranks, rules without a word on splitting would give each of them everything. */
static int check_rules(const struct wload_plan *plan, const struct wload_rules *rules,
		       struct wload_error *err)
{
	if (plan->tp > 1 && !rules->split_count)
		return wload_fail(err, EOPNOTSUPP,
				  "the rules of '%s' have no 'split', so what rank %" PRIu32
				  " of %" PRIu32 " has is unknown",
				  rules->family, plan->rank, plan->tp);
	for (size_t i = 0; i < rules->stack_count; i++)
		if (rules_layout_fits(rules->stack[i].layouts, plan->layout))
			return 0;
	if (plan->ep > 1)
		return wload_fail(err, EOPNOTSUPP,
				  "the rules of '%s' stack no experts that ep %" PRIu32
				  " could share",
				  rules->family, plan->ep);
	return 0;
}

/* Applies the rules of one kind that are for the layout. */
static int join(struct draft *draft, const struct rules_fuse *list, size_t count,
		const struct fuse *fuse, struct wload_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		if (rules_layout_fits(list[i].layouts, fuse->layout))
			r = fuse_apply(draft, &list[i], fuse, err);
	return r;
}

static int apply_rules(const struct wload_plan *plan, struct draft *draft,
		       const struct wload_rules *rules, const struct config *config,
		       struct wload_error *err)
{
	const struct fuse fuse = {
		.rules = rules, .config = config, .layout = plan->layout, .names = plan->names};
	const struct rules_tied *tied;
	int r;

	for (size_t i = 0; i < rules->tied_count; i++) {
		tied = &rules->tied[i];
		tied_apply(draft, tied, config_flag(config, tied->when, tied->fallback));
	}
	if (plan->names == WLOAD_NAMES_HF && plan->tp == 1)
		return 0; /* every tensor is whole */
	r = join(draft, rules->fuse, rules->fuse_count, &fuse, err);
	return r < 0 ? r : join(draft, rules->stack, rules->stack_count, &fuse, err);
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

/* All but what the plan is of: the rules are applied, and the parameters laid down. */
static int build(struct wload_plan *plan, struct draft *draft, const struct config *config,
		 const struct wload_plan_options *options, struct wload_error *err)
{
	struct wload_rules *parsed CLEANUP(cleanup_rules) = NULL;
	struct laid *laid CLEANUP_FREE = NULL;
	const struct wload_rules *chosen;
	int r = choose_rules(draft, plan, config, options->rules, &parsed, &chosen, err);

	if (r == 0 && chosen)
		r = check_rules(plan, chosen, err);
	if (r == 0 && chosen)
		r = apply_rules(plan, draft, chosen, config, err);
	if (r < 0)
		return r;
	laid = calloc(draft->tensor_count + draft->join_count + 1, sizeof(*laid));
	if (!laid)
		return wload_fail(err, ENOMEM, "out of memory");
	r = lay_down(plan, draft, chosen, config, laid, err);
	if (r == 0)
		r = convert(plan, draft, laid, options, err);
	if (r == 0)
		r = keep_words(plan, draft, chosen ? chosen->family : "none", err);
	return r;
}

int wload_plan_build(const struct wload_inventory *inv, const char *config_text,
		     const struct wload_plan_options *options, struct wload_plan **ret_plan,
		     struct wload_error *err)
{
	static const struct wload_plan_options everything = {0};
	struct wload_plan *plan CLEANUP(cleanup_plan) = calloc(1, sizeof(*plan));
	struct config *config CLEANUP(cleanup_config) = NULL;
	struct draft draft CLEANUP(cleanup_draft) = {0};
	int r;

	if (!plan)
		return wload_fail(err, ENOMEM, "out of memory");
	if (!options)
		options = &everything;
	plan->tensor_count = wload_inventory_count(inv);
	plan->tp = options->tp ? options->tp : 1;
	plan->ep = options->ep ? options->ep : 1;
	plan->layout = options->layout;
	plan->names = options->names;
	plan->rank = options->rank;
	r = check_options(plan, options, err);
	if (r == 0)
		r = config_parse(config_text, &config, err);
	if (r == 0)
		r = draft_init(&draft, inv, &plan->arena, err);
	if (r == 0)
		r = build(plan, &draft, config, options, err);
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

const char *wload_layout_name(enum wload_layout layout)
{
	static const char *const names[] = {
		[WLOAD_LAYOUT_TRTLLM] = "trtllm", [WLOAD_LAYOUT_VLLM] = "vllm"};

	return layout < WLOAD_LAYOUT_COUNT ? names[layout] : NULL;
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

uint32_t wload_plan_tp(const struct wload_plan *plan)
{
	return plan->tp;
}

uint32_t wload_plan_rank(const struct wload_plan *plan)
{
	return plan->rank;
}

uint32_t wload_plan_ep(const struct wload_plan *plan)
{
	return plan->ep;
}

enum wload_layout wload_plan_layout(const struct wload_plan *plan)
{
	return plan->layout;
}

uint32_t wload_plan_uses(const struct wload_plan *plan, uint32_t tensor)
{
	assert(tensor < plan->tensor_count);
	return plan->uses[tensor] == LAY_ELSEWHERE ? 0 : plan->uses[tensor];
}

bool wload_plan_unused(const struct wload_plan *plan, uint32_t tensor)
{
	assert(tensor < plan->tensor_count);
	return plan->uses[tensor] == 0;
}

const char *wload_plan_family(const struct wload_plan *plan)
{
	return plan->family;
}

const char *wload_plan_note(const struct wload_plan *plan)
{
	return plan->note;
}
