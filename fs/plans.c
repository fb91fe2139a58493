/* SPDX-License-Identifier: Apache-2.0 */
/* Builds plans when they are needed, and puts them away (see plans.h). */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/plans.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/inventory.h"

/* What a plan takes, roughly: parameters, sources and steps, and what was copied for them. */
#define BYTES_A_PARAM  192u
#define BYTES_A_SOURCE sizeof(struct wload_source)

struct text_of_file {
	uint8_t *bytes;
	size_t len;
};

struct slot {
	struct wload_plan *plan; /* NULL: not at hand; under lock, like all here but shape */
	struct param_names names;
	struct text_of_file *text; /* of each made file; NULL where none was needed */
	uint64_t bytes;
	uint64_t used_at; /* the count of gets */
	uint32_t users;
	bool building; /* by one, without the lock */
	bool failed;   /* and will again */
	struct plan_shape *_Atomic shape;
};

struct plans {
	pthread_mutex_t lock;
	pthread_cond_t built;
	uint64_t gets;
	uint32_t slots;
	bool note_said;
	own_warn warn;
	void *warn_ctx;
	struct slot slot[];
};

/* ---- which ---- */

bool plans_any(const struct wloadfs *fs)
{
	return fs->plans != NULL;
}

uint32_t plans_fused_slot(const struct wloadfs *fs, uint32_t who)
{
	return fs->plan.tp ? who : 0;
}

uint32_t plans_made_slot(const struct wloadfs *fs, uint32_t who)
{
	return fs->plan.names == WLOAD_NAMES_FUSED ? who : fs->plan.tp + who;
}

static struct wload_plan_options options_of(const struct wloadfs *fs, uint32_t slot)
{
	struct wload_plan_options options = {.rules = fs->plan.rules, .layout = fs->plan.layout};

	if (slot == 0)
		return options;
	options.tp = fs->plan.tp;
	options.ep = fs->plan.ep;
	options.rank = (slot - 1) % fs->plan.tp;
	options.names = slot > fs->plan.tp ? fs->plan.names : WLOAD_NAMES_FUSED;
	return options;
}

/* Does a slot's plan make a checkpoint? */
static bool makes_files(const struct wloadfs *fs, uint32_t slot)
{
	return slot && (slot > fs->plan.tp) == (fs->plan.names != WLOAD_NAMES_FUSED);
}

/* ---- building ---- */

static void free_shape(struct plan_shape *shape)
{
	if (!shape)
		return;
	param_index_free(&shape->index);
	made_free(&shape->made);
	free(shape);
}

/* What stays of a plan; built once. */
static int build_shape(const struct wloadfs *fs, uint32_t slot, const struct wload_plan *plan,
		       struct wload_error *err)
{
	struct slot *s = &fs->plans->slot[slot];
	struct plan_shape *shape;
	int r;

	if (atomic_load(&s->shape))
		return 0;
	shape = calloc(1, sizeof(*shape));
	r = shape ? param_index_build(plan, wload_inventory_count(fs->inv), &shape->index)
		  : -ENOMEM;
	if (r < 0)
		(void)wload_fail(err, ENOMEM, "out of memory for its parameters");
	if (r == 0 && makes_files(fs, slot))
		r = made_build(plan, OUT_SHARD_BYTES, &shape->made, err);
	if (r < 0)
		free_shape(shape);
	else
		atomic_store(&s->shape, shape);
	return r;
}

static uint64_t bytes_of(const struct wload_plan *plan)
{
	uint64_t bytes = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		const struct wload_param *param = wload_plan_param(plan, p);

		bytes += BYTES_A_PARAM + param->source_count * BYTES_A_SOURCE +
			 param->step_count * sizeof(struct wload_step);
	}
	return bytes;
}

static int build(const struct wloadfs *fs, uint32_t slot, struct wload_plan **ret_plan,
		 struct param_names *ret_names, struct wload_error *err)
{
	struct wload_plan_options options = options_of(fs, slot);
	struct wload_plan *plan = NULL;
	struct param_names names = {0};
	int r = wload_plan_build(fs->inv, wload_checkpoint_config(fs->ckpt), &options, &plan, err);

	if (r == 0 && (r = param_names_build(plan, &names)) < 0)
		(void)wload_fail(err, ENOMEM, "out of memory for its names");
	if (r == 0)
		r = build_shape(fs, slot, plan, err);
	if (r < 0) {
		param_names_free(&names);
		wload_plan_free(plan);
		return r;
	}
	*ret_plan = plan;
	*ret_names = names;
	return 0;
}

static void say(const struct plans *plans, const char *fmt, const char *what)
{
	char text[WLOAD_ERROR_TEXT + 64];

	(void)snprintf(text, sizeof(text), "%s%s", fmt, what);
	plans->warn(plans->warn_ctx, text);
}

/* ---- the slots ---- */

/* Frees what of a slot can be built again. Lock held, no users. */
static void put_away(const struct wloadfs *fs, struct slot *s)
{
	const struct plan_shape *shape = atomic_load(&s->shape);

	(void)fs;
	for (uint32_t i = 0; s->text && i < made_files(&shape->made); i++)
		free(s->text[i].bytes);
	free(s->text);
	s->text = NULL;
	param_names_free(&s->names);
	wload_plan_free(s->plan);
	s->plan = NULL;
	s->bytes = 0;
}

/* Puts away what nobody uses, the longest unused first, until the rest fits. Lock held. */
static void make_room(const struct wloadfs *fs)
{
	struct plans *plans = fs->plans;

	for (;;) {
		struct slot *oldest = NULL;
		uint64_t idle = 0;
		uint32_t count = 0;

		for (struct slot *s = plans->slot; s < plans->slot + plans->slots; s++) {
			if (!s->plan || s->users)
				continue;
			idle += s->bytes;
			count++;
			if (!oldest || s->used_at < oldest->used_at)
				oldest = s;
		}
		if (count <= 1 || idle <= PLANS_IDLE_BYTES)
			return;
		put_away(fs, oldest);
	}
}

/* Builds a slot's plan. Lock held, and let go of meanwhile. */
static int fill(const struct wloadfs *fs, uint32_t slot)
{
	struct plans *plans = fs->plans;
	struct slot *s = &plans->slot[slot];
	struct wload_error err = {0};
	struct wload_plan *plan = NULL;
	struct param_names names = {0};
	int r;

	s->building = true;
	pthread_mutex_unlock(&plans->lock);
	r = build(fs, slot, &plan, &names, &err);
	pthread_mutex_lock(&plans->lock);
	s->building = false;
	pthread_cond_broadcast(&plans->built);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		s->failed = true;
		say(plans, "fused/ can't be shown: ", err.text);
		return -EIO;
	}
	s->plan = plan;
	s->names = names;
	s->bytes = bytes_of(plan);
	if (wload_plan_note(plan) && !plans->note_said)
		say(plans, "fused/: ", wload_plan_note(plan));
	plans->note_said = true;
	return 0;
}

/* Lock held. */
static void take(struct plans *plans, uint32_t slot, struct planned *ret)
{
	struct slot *s = &plans->slot[slot];

	s->users++;
	s->used_at = ++plans->gets;
	*ret = (struct planned){s->plan, &s->names, atomic_load(&s->shape), slot};
}

int plans_get(const struct wloadfs *fs, uint32_t slot, struct planned *ret)
{
	struct plans *plans = fs->plans;
	struct slot *s = &plans->slot[slot];
	int r = 0;
	LOCK_SCOPE(&plans->lock);

	while (s->building)
		pthread_cond_wait(&plans->built, &plans->lock);
	if (s->failed)
		return -EIO;
	if (!s->plan)
		r = fill(fs, slot);
	if (r < 0)
		return r;
	take(plans, slot, ret);
	make_room(fs);
	return 0;
}

bool plans_peek(const struct wloadfs *fs, uint32_t slot, struct planned *ret)
{
	struct plans *plans = fs->plans;
	LOCK_SCOPE(&plans->lock);

	if (!plans->slot[slot].plan)
		return false;
	take(plans, slot, ret);
	return true;
}

void plans_put(const struct wloadfs *fs, uint32_t slot)
{
	LOCK_SCOPE(&fs->plans->lock);

	if (--fs->plans->slot[slot].users == 0)
		make_room(fs);
}

const struct plan_shape *plans_shape(const struct wloadfs *fs, uint32_t slot)
{
	return fs->plans ? atomic_load(&fs->plans->slot[slot].shape) : NULL;
}

/* ---- texts ---- */

int plans_text(const struct wloadfs *fs, const struct planned *planned, uint32_t file,
	       const uint8_t **ret_bytes, size_t *ret_len)
{
	const struct made *made = &planned->shape->made;
	struct slot *s = &fs->plans->slot[planned->slot];
	struct text_of_file text = {0};
	int r = 0;
	LOCK_SCOPE(&fs->plans->lock);

	if (!s->text)
		s->text = calloc(made_files(made), sizeof(*s->text));
	if (!s->text)
		return -ENOMEM;
	if (!s->text[file].bytes) {
		r = made_text(made, planned->plan, file, &text.bytes, &text.len, NULL);
		if (r < 0)
			return r;
		s->text[file] = text;
		s->bytes += text.len;
	}
	*ret_bytes = s->text[file].bytes;
	*ret_len = s->text[file].len;
	return 0;
}

/* ---- beginning and end ---- */

static void free_inventory(struct wload_inventory **inv)
{
	inventory_free(*inv);
}

static void free_plan(struct wload_plan **plan)
{
	wload_plan_free(*plan);
}

/* Whether config.json and the rules can be understood: a plan of no tensors needs just that. */
static int try_empty(const struct wloadfs *fs, struct wload_error *err)
{
	struct wload_inventory *none CLEANUP(free_inventory) = inventory_new();
	struct wload_plan *plan CLEANUP(free_plan) = NULL;
	struct wload_plan_options options = options_of(fs, 0);
	uint32_t pair[2];

	if (!none || inventory_seal(none, pair, err) < 0)
		return wload_fail(err, ENOMEM, "out of memory");
	return wload_plan_build(none, wload_checkpoint_config(fs->ckpt), &options, &plan, err);
}

/* Whether a rank's part can be told. */
static int try_rank(const struct wloadfs *fs, uint32_t rank, struct wload_error *err)
{
	struct wload_plan *plan CLEANUP(free_plan) = NULL;
	struct wload_plan_options options = options_of(fs, 1 + rank);

	return wload_plan_build(fs->inv, wload_checkpoint_config(fs->ckpt), &options, &plan, err);
}

static int start_slots(struct wloadfs *fs, own_warn warn, void *warn_ctx)
{
	uint32_t slots = 1 + 2 * fs->plan.tp;
	struct plans *plans = calloc(1, sizeof(*plans) + slots * sizeof(plans->slot[0]));

	if (!plans)
		return -ENOMEM;
	plans->slots = slots;
	plans->warn = warn;
	plans->warn_ctx = warn_ctx;
	pthread_mutex_init(&plans->lock, NULL);
	pthread_cond_init(&plans->built, NULL);
	fs->plans = plans;
	return 0;
}

int plans_start(struct wloadfs *fs, own_warn warn, void *warn_ctx, struct wload_error *err)
{
	struct wload_error why = {0};
	char text[WLOAD_ERROR_TEXT + 64];
	int r = 0;

	if (fs->plan.rules_path)
		r = wload_rules_load(fs->plan.rules_path, &fs->plan.rules, err);
	/* Of those between the shares are as large as the first one's. */
	if (r == 0 && fs->plan.tp)
		r = try_rank(fs, 0, err);
	if (r == 0 && fs->plan.tp > 1)
		r = try_rank(fs, fs->plan.tp - 1, err);
	if (r < 0)
		return r;
	r = fs->plan.tp ? 0 : try_empty(fs, &why);
	if (r == 0)
		r = start_slots(fs, warn, warn_ctx);
	if (r == -ENOMEM)
		return wload_fail(err, ENOMEM, "out of memory for plans");
	if (r < 0) {
		(void)snprintf(text, sizeof(text), "no fused/: %s", why.text);
		warn(warn_ctx, text);
	}
	return 0;
}

void plans_free(struct wloadfs *fs)
{
	struct plans *plans = fs->plans;

	for (uint32_t i = 0; plans && i < plans->slots; i++) {
		put_away(fs, &plans->slot[i]);
		free_shape(atomic_load(&plans->slot[i].shape));
	}
	if (plans) {
		pthread_mutex_destroy(&plans->lock);
		pthread_cond_destroy(&plans->built);
	}
	free(plans);
	fs->plans = NULL;
	wload_rules_free(fs->plan.rules);
	fs->plan.rules = NULL;
}
