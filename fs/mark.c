/* SPDX-License-Identifier: Apache-2.0 */
/* Consumption: marking, then clearing every cache, then the reply (evict.h says why in this order).
 *
 * A tensor that was never opened, in a shard that nobody opened served, can have no FUSE pages, so
 * the worker answers for it itself; any other goes to the evictor. open() and unlink() may race:
 * open counts itself first and then looks whether the tensor is consumed, unlink consumes first and
 * then looks at the count, so that at least one of them sees the other. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/fused_mark.h"
#include "fs/mark.h"
#include "fs/prefetch.h"
#include "fs/trace.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/names.h"

/* From this many names that the kernel knows, telling it to look all of them up again is cheaper.
 */
#define EPOCH_FROM_NAMES 64

/* A shard of which more tensors than this go at once is evicted run by run. */
#define SHARD_FROM_TENSORS 16

/* ---- handles ---- */

static struct tensor_state *state_of(struct wloadfs *fs, struct node file)
{
	return &fs->known[file.who].tensor[file.index];
}

int mark_open(struct wloadfs *fs, struct node file)
{
	struct tensor_state *state = state_of(fs, file);

	atomic_fetch_or(&state->seen, SEEN_OPEN);
	atomic_fetch_add(&state->opens, 1);
	if (!fs_is_done(fs, file.who, file.index))
		return 0;
	atomic_fetch_sub(&state->opens, 1);
	return -ENOENT;
}

/* What is left to do for one tensor that went from a tree, or was read there after it. */
struct tensor_job {
	struct evictor_job job;
	fuse_req_t req;	  /* of the unlink() that waits; NULL: none */
	struct node file; /* by which it went */
	bool consumed;	  /* nobody needs it any more */
};

/* Drops the pages that nobody needs any more: of the tree's own files, of the shard with the last
 * claim. */
static void evict_gone(struct wloadfs *fs, const struct tensor_job *gone)
{
	evict_mapped(fs, gone->consumed ? CLAIMS_ROOT : gone->file.who, gone->file.index);
	if (gone->consumed) {
		evict_served(fs, gone->file.index);
		evict_tensor(fs, gone->file.index);
	}
}

static void run_clean(struct wloadfs *fs, struct evictor_job *job)
{
	evict_gone(fs, (struct tensor_job *)job);
	free(job);
}

void mark_release(struct wloadfs *fs, struct node file)
{
	struct tensor_job *clean;

	if (atomic_fetch_sub(&state_of(fs, file)->opens, 1) != 1 ||
	    !fs_is_done(fs, file.who, file.index))
		return;
	/* The last handle of a tensor that is gone: what was read through it goes too. */
	clean = malloc(sizeof(*clean));
	if (!clean)
		return;
	*clean = (struct tensor_job){
		.job.run = run_clean, .file = file, .consumed = fs_is_consumed(fs, file.index)};
	evictor_push(fs, &clean->job);
}

/* ---- one tensor ---- */

bool mark_increment_epoch(struct wloadfs *fs)
{
	if (feature_on(&fs->features, FEATURE_EPOCH) && wire_increment_epoch(&fs->wire) == -EINVAL)
		feature_off(&fs->features, FEATURE_EPOCH, FEATURE_MISSING);
	return feature_on(&fs->features, FEATURE_EPOCH);
}

static bool is_open(const struct wloadfs *fs, uint32_t tensor)
{
	for (uint32_t tree = 0; tree < fs_claimants(fs); tree++)
		if (atomic_load(&fs->known[tree].tensor[tensor].opens) ||
		    fused_is_open(fs, tree, tensor))
			return true;
	return false;
}

/* Makes the other names of a consumed tensor fail. While it is open its attributes still answer,
 * for fstat(), so the names themselves have to be looked up again. */
static void forget_names(struct wloadfs *fs, uint32_t tensor)
{
	evict_attributes(fs, tensor);
	if (is_open(fs, tensor))
		(void)mark_increment_epoch(fs);
}

static void run_unlink(struct wloadfs *fs, struct evictor_job *job)
{
	struct tensor_job *gone = (struct tensor_job *)job;

	forget_names(fs, gone->file.index);
	evict_gone(fs, gone);
	fuse_reply_err(gone->req, 0);
	free(gone);
}

/* May the kernel have FUSE pages of it, by its own files or by its shard's? */
static bool may_have_pages(const struct wloadfs *fs, uint32_t tensor)
{
	return evict_seen(fs, CLAIMS_ROOT, tensor) & SEEN_OPEN ||
	       served_any(fs, wload_inventory_tensor(fs->inv, tensor).shard);
}

void mark_unlink(struct wloadfs *fs, fuse_req_t req, struct node file)
{
	struct tensor_job *job = malloc(sizeof(*job));
	enum claims_change change;

	if (!job) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_lock(&fs->lock);
	change = claims_drop(&fs->claims, file.who, file.index);
	if (change != CLAIMS_SAME)
		trace_unlink(fs, file, fuse_req_ctx(req)->pid);
	pthread_mutex_unlock(&fs->lock);
	*job = (struct tensor_job){.job.run = run_unlink,
				   .req = req,
				   .file = file,
				   .consumed = change == CLAIMS_CONSUMED};
	if (change != CLAIMS_SAME && may_have_pages(fs, file.index)) {
		evictor_push(fs, &job->job);
		return;
	}
	if (change != CLAIMS_SAME)
		evict_attributes(fs, file.index);
	if (change == CLAIMS_CONSUMED) {
		evict_tensor(fs, file.index);
		/* Its shard was opened meanwhile. */
		if (may_have_pages(fs, file.index))
			evict_later(fs, wload_inventory_tensor(fs->inv, file.index).shard);
	}
	fuse_reply_err(req, change == CLAIMS_SAME ? ENOENT : 0);
	free(job);
}

/* ---- many ---- */

static bool is_one(enum command_verb verb)
{
	return verb == COMMAND_KEY || verb == COMMAND_LOADED;
}

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
	ret->prefix_len = (uint32_t)len;
	return 0;
}

int mark_resolve(const struct wloadfs *fs, const struct command *command, struct action *ret)
{
	*ret = (struct action){.verb = command->verb};
	if (is_one(command->verb))
		return names_find(&fs->names, command->argument, command->argument_len, "",
				  &ret->tensor) < 0
			       ? -EINVAL
			       : 0;
	if (command->argument)
		return resolve_prefix(fs, command, ret);
	ret->end = wload_inventory_count(fs->inv);
	return 0;
}

#define WORD_BITS 64u

int mark_changed_init(struct mark_changed *changed, const struct wloadfs *fs, uint32_t who)
{
	uint32_t tensors = wload_inventory_count(fs->inv);

	*changed = (struct mark_changed){.who = who, .tensors = tensors};
	changed->bits = calloc(tensors / WORD_BITS + 1, sizeof(*changed->bits));
	return changed->bits ? 0 : -ENOMEM;
}

void mark_changed_free(struct mark_changed *changed)
{
	free(changed->bits);
	changed->bits = NULL;
}

static void note_changed(struct mark_changed *changed, uint32_t tensor)
{
	changed->bits[tensor / WORD_BITS] |= 1ull << tensor % WORD_BITS;
}

bool mark_changed_drop(struct wloadfs *fs, struct mark_changed *changed, uint32_t tensor,
		       int32_t pid)
{
	struct node file = {.kind = NODE_TENSOR, .index = tensor, .who = (uint16_t)changed->who};

	if (claims_drop(&fs->claims, changed->who, tensor) == CLAIMS_SAME)
		return false;
	trace_unlink(fs, file, pid);
	note_changed(changed, tensor);
	return true;
}

/* Marks one tensor; remembers it when its state changed. */
static void mark_one(struct wloadfs *fs, struct action *action, struct mark_changed *changed,
		     uint32_t tensor)
{
	if (action->verb == COMMAND_RESTORE
		    ? !claims_restore(&fs->claims, changed->who, tensor)
		    : claims_drop(&fs->claims, changed->who, tensor) == CLAIMS_SAME)
		return;
	action->changed++;
	trace_change(fs, changed->who, action, tensor);
	note_changed(changed, tensor);
}

/* Gives a folder that was removed its next life. */
static void revive(_Atomic uint8_t *life)
{
	if (atomic_load(life) % 2)
		atomic_fetch_add(life, 1);
}

static void restore_folders_in(struct wloadfs *fs, uint32_t tree, const struct action *action)
{
	struct known *known = &fs->known[tree];

	revive(&known->tensors_life);
	revive(&known->npys_life);
	revive(&known->fused_life);
	for (uint32_t i = 0; i < fs->modules.count; i++) {
		const struct module *module = &fs->modules.module[i];

		if (i == 0 || (module->first < action->end && module->end > action->first))
			revive(&known->module_life[i]);
	}
}

/* Removed folders come back with what they hold: names are static. A rank's tensors come back in
 * the root's tree too, for they may have been consumed. fs->lock held. */
static void restore_folders(struct wloadfs *fs, uint32_t who, const struct action *action)
{
	restore_folders_in(fs, CLAIMS_ROOT, action);
	for (uint32_t tree = 1; tree < fs_claimants(fs); tree++)
		if (who == CLAIMS_ROOT || who == tree)
			restore_folders_in(fs, tree, action);
}

static void mark_action(struct wloadfs *fs, struct action *action, struct mark_changed *changed)
{
	LOCK_SCOPE(&fs->lock);

	if (is_one(action->verb))
		mark_one(fs, action, changed, action->tensor);
	else
		for (uint32_t rank = action->first; rank < action->end; rank++)
			mark_one(fs, action, changed, wload_inventory_by_name(fs->inv, rank));
	if (action->verb == COMMAND_RESTORE) {
		restore_folders(fs, changed->who, action);
		fused_restored(fs, changed->who, action->first, action->end);
		prefetch_restored(fs);
	}
	trace_action(fs, changed->who, action);
}

/* The first changed tensor from `from` to before `end`; `end` where there is none. */
static uint32_t next_changed(const struct mark_changed *changed, uint32_t from, uint32_t end)
{
	while (from < end) {
		uint64_t word = changed->bits[from / WORD_BITS] >> from % WORD_BITS;

		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			break;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return from < end ? from : end;
}

/* Makes the names of the changed tensors fail, or come back. */
static void forget_changed_names(struct wloadfs *fs, const struct mark_changed *changed)
{
	uint32_t known = 0, end = changed->tensors, t;

	for (t = next_changed(changed, 0, end); t < end; t = next_changed(changed, t + 1, end))
		known += evict_seen(fs, CLAIMS_ROOT, t) != 0;
	if (known >= EPOCH_FROM_NAMES && mark_increment_epoch(fs))
		return;
	for (t = next_changed(changed, 0, end); known && t < end;
	     t = next_changed(changed, t + 1, end))
		forget_names(fs, t);
}

/* Evicts the changed tensors of one shard: the pages of the tree's files, and of the shard those of
 * what is consumed. */
static void evict_changed_in(struct wloadfs *fs, const struct mark_changed *changed, uint32_t shard)
{
	const struct wload_shard *s = wload_checkpoint_shard(fs->ckpt, shard);
	uint32_t few[SHARD_FROM_TENSORS], count = 0, end = s->end, t;

	for (t = next_changed(changed, s->first, end); t < end;
	     t = next_changed(changed, t + 1, end)) {
		bool consumed = fs_is_consumed(fs, t);

		evict_mapped(fs, consumed ? CLAIMS_ROOT : changed->who, t);
		if (!consumed)
			continue;
		if (count < SHARD_FROM_TENSORS)
			few[count] = t;
		count++;
	}
	if (count > SHARD_FROM_TENSORS)
		evict_shard(fs, shard);
	else
		for (uint32_t i = 0; i < count; i++) {
			evict_served(fs, few[i]);
			evict_tensor(fs, few[i]);
		}
}

void mark_changed_evict(struct wloadfs *fs, const struct mark_changed *changed)
{
	forget_changed_names(fs, changed);
	for (uint32_t shard = 0; shard < wload_checkpoint_shard_count(fs->ckpt); shard++)
		evict_changed_in(fs, changed, shard);
}

int mark_run(struct wloadfs *fs, uint32_t who, struct action *actions, size_t count)
{
	struct mark_changed changed CLEANUP(mark_changed_free) = {0};
	int r = mark_changed_init(&changed, fs, who);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		mark_action(fs, &actions[i], &changed);
	mark_changed_evict(fs, &changed);
	return 0;
}
