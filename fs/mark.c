/* SPDX-License-Identifier: Apache-2.0 */
/* Consumption: marking, then clearing every cache, then the reply (evict.h says why in this order).
 *
 * A tensor that was never opened can have no FUSE pages, so the worker answers for it itself; one
 * that was goes to the evictor. open() and unlink() may race: open counts itself first and then
 * looks whether the tensor is consumed, unlink consumes first and then looks at the count, so that
 * at least one of them sees the other. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/mark.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/names.h"

/* From this many names that the kernel knows, telling it to look all of them up again is cheaper.
 */
#define EPOCH_FROM_NAMES 64

/* A shard of which more tensors than this go at once is evicted run by run. */
#define SHARD_FROM_TENSORS 16

/* ---- handles ---- */

int mark_open(struct wloadfs *fs, uint32_t tensor)
{
	struct tensor_state *state = &fs->tensor[tensor];

	atomic_fetch_or(&state->seen, SEEN_OPEN);
	atomic_fetch_add(&state->opens, 1);
	if (!consumed_has(&fs->consumed, tensor))
		return 0;
	atomic_fetch_sub(&state->opens, 1);
	return -ENOENT;
}

struct clean_job {
	struct evictor_job job;
	uint32_t tensor;
};

static void run_clean(struct wloadfs *fs, struct evictor_job *job)
{
	struct clean_job *clean = (struct clean_job *)job;

	evict_mapped(fs, clean->tensor);
	evict_tensor(fs, clean->tensor);
	free(clean);
}

void mark_release(struct wloadfs *fs, uint32_t tensor)
{
	struct clean_job *clean;

	if (atomic_fetch_sub(&fs->tensor[tensor].opens, 1) != 1 ||
	    !consumed_has(&fs->consumed, tensor))
		return;
	/* The last handle of a consumed tensor: what was read through it goes too. */
	clean = malloc(sizeof(*clean));
	if (!clean)
		return;
	*clean = (struct clean_job){.job.run = run_clean, .tensor = tensor};
	evictor_push(fs, &clean->job);
}

/* ---- one tensor ---- */

static bool increment_epoch(struct wloadfs *fs)
{
	if (feature_on(&fs->features, FEATURE_EPOCH) && wire_increment_epoch(&fs->wire) == -EINVAL)
		feature_off(&fs->features, FEATURE_EPOCH, FEATURE_MISSING);
	return feature_on(&fs->features, FEATURE_EPOCH);
}

/* Makes the other names of a consumed tensor fail. While it is open its attributes still answer,
 * for fstat(), so the names themselves have to be looked up again. */
static void forget_names(struct wloadfs *fs, uint32_t tensor)
{
	evict_attributes(fs, tensor);
	if (atomic_load(&fs->tensor[tensor].opens))
		(void)increment_epoch(fs);
}

struct unlink_job {
	struct evictor_job job;
	fuse_req_t req;
	uint32_t tensor;
};

static void run_unlink(struct wloadfs *fs, struct evictor_job *job)
{
	struct unlink_job *unlink = (struct unlink_job *)job;

	forget_names(fs, unlink->tensor);
	evict_mapped(fs, unlink->tensor);
	evict_tensor(fs, unlink->tensor);
	fuse_reply_err(unlink->req, 0);
	free(unlink);
}

void mark_unlink(struct wloadfs *fs, fuse_req_t req, uint32_t tensor)
{
	struct unlink_job *job = malloc(sizeof(*job));
	bool changed;

	if (!job) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*job = (struct unlink_job){.job.run = run_unlink, .req = req, .tensor = tensor};
	pthread_mutex_lock(&fs->lock);
	changed = consumed_set(&fs->consumed, tensor);
	pthread_mutex_unlock(&fs->lock);
	if (changed && atomic_load(&fs->tensor[tensor].seen) & SEEN_OPEN) {
		evictor_push(fs, &job->job);
		return;
	}
	if (changed) {
		evict_attributes(fs, tensor);
		evict_tensor(fs, tensor);
	}
	fuse_reply_err(req, changed ? 0 : ENOENT);
	free(job);
}

/* ---- many ---- */

static int resolve_prefix(const struct wloadfs *fs, const struct command *command,
			  struct action *ret)
{
	CLEANUP_FREE char *prefix = malloc(command->argument_len + 2);
	size_t len;

	if (!prefix)
		return -ENOMEM;
	if (name_from_file(command->argument, command->argument_len, prefix,
			   command->argument_len + 1, &len) < 0 ||
	    len == 0)
		return -EINVAL;
	memcpy(prefix + len, ".", 2);
	wload_inventory_prefix(fs->inv, prefix, len + 1, &ret->first, &ret->end);
	return 0;
}

int mark_resolve(const struct wloadfs *fs, const struct command *command, struct action *ret)
{
	*ret = (struct action){.verb = command->verb};
	if (command->verb == COMMAND_KEY)
		return names_find(&fs->names, command->argument, command->argument_len, "",
				  &ret->tensor) < 0
			       ? -EINVAL
			       : 0;
	if (command->argument)
		return resolve_prefix(fs, command, ret);
	ret->end = wload_inventory_count(fs->inv);
	return 0;
}

/* The tensors that one mark_run() changed: a bit each, so that no list of commands makes it larger.
 */
struct changed {
	uint64_t *bits;
	uint32_t tensors;
};

#define WORD_BITS 64u

/* Marks one tensor; remembers it when its state changed. */
static void mark_one(struct wloadfs *fs, struct action *action, struct changed *changed,
		     uint32_t tensor)
{
	bool restore = action->verb == COMMAND_RESTORE;

	if (restore ? !consumed_clear(&fs->consumed, tensor) : !consumed_set(&fs->consumed, tensor))
		return;
	action->changed++;
	changed->bits[tensor / WORD_BITS] |= 1ull << tensor % WORD_BITS;
}

/* Gives a folder that was removed its next life. */
static void revive(_Atomic uint8_t *life)
{
	if (atomic_load(life) % 2)
		atomic_fetch_add(life, 1);
}

/* Removed folders come back with what they hold: names are static. fs->lock held. */
static void restore_folders(struct wloadfs *fs, const struct action *action)
{
	revive(&fs->tensors_life);
	revive(&fs->npys_life);
	for (uint32_t i = 0; i < fs->modules.count; i++) {
		const struct module *module = &fs->modules.module[i];

		if (i == 0 || (module->first < action->end && module->end > action->first))
			revive(&fs->module_life[i]);
	}
}

static void mark_action(struct wloadfs *fs, struct action *action, struct changed *changed)
{
	LOCK_SCOPE(&fs->lock);

	if (action->verb == COMMAND_KEY)
		mark_one(fs, action, changed, action->tensor);
	else
		for (uint32_t rank = action->first; rank < action->end; rank++)
			mark_one(fs, action, changed, wload_inventory_by_name(fs->inv, rank));
	if (action->verb == COMMAND_RESTORE)
		restore_folders(fs, action);
}

/* The first changed tensor at or behind `from`; changed->tensors behind the last. */
static uint32_t next_changed(const struct changed *changed, uint32_t from)
{
	while (from < changed->tensors) {
		uint64_t word = changed->bits[from / WORD_BITS] >> from % WORD_BITS;

		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			break;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return from < changed->tensors ? from : changed->tensors;
}

/* Makes the names of the changed tensors fail, or come back. */
static void forget_changed_names(struct wloadfs *fs, const struct changed *changed)
{
	uint32_t known = 0, t;

	for (t = next_changed(changed, 0); t < changed->tensors; t = next_changed(changed, t + 1))
		known += atomic_load(&fs->tensor[t].seen) != 0;
	if (known >= EPOCH_FROM_NAMES && increment_epoch(fs))
		return;
	for (t = next_changed(changed, 0); known && t < changed->tensors;
	     t = next_changed(changed, t + 1))
		forget_names(fs, t);
}

/* Evicts the changed tensors of one shard that are consumed. */
static void evict_changed_in(struct wloadfs *fs, const struct changed *changed, uint32_t shard)
{
	const struct wload_shard *s = wload_checkpoint_shard(fs->ckpt, shard);
	uint32_t few[SHARD_FROM_TENSORS], count = 0, t;

	for (t = next_changed(changed, s->first); t < s->end; t = next_changed(changed, t + 1)) {
		evict_mapped(fs, t);
		if (count < SHARD_FROM_TENSORS)
			few[count] = t;
		count++;
	}
	if (count > SHARD_FROM_TENSORS)
		evict_shard(fs, shard);
	else
		for (uint32_t i = 0; i < count; i++)
			evict_tensor(fs, few[i]);
}

int mark_run(struct wloadfs *fs, struct action *actions, size_t count)
{
	uint32_t tensors = wload_inventory_count(fs->inv);
	CLEANUP_FREE uint64_t *bits = calloc(tensors / WORD_BITS + 1, sizeof(*bits));
	struct changed changed = {.bits = bits, .tensors = tensors};

	if (!bits)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		mark_action(fs, &actions[i], &changed);
	forget_changed_names(fs, &changed);
	for (uint32_t shard = 0; shard < wload_checkpoint_shard_count(fs->ckpt); shard++)
		evict_changed_in(fs, &changed, shard);
	return 0;
}
