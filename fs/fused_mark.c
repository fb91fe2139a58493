/* SPDX-License-Identifier: Apache-2.0 */
/* Handles, removing and restoring of parameters (see fused_mark.h). As in mark.c open() and
 * unlink() may race: open counts itself first and then looks whether the parameter is there, unlink
 * removes first and then looks at the count. */

#include <errno.h>
#include <stdlib.h>

#include "fs/fused.h"
#include "fs/fused_mark.h"
#include "fs/mark.h"
#include "loader/base/cleanup.h"

#define WORD_BITS 64u

/* ---- handles ---- */

void fused_note_seen(struct wloadfs *fs, struct node file)
{
	struct fused_tree *tree = atomic_load(&fs->fused[file.who].tree);

	if (tree)
		atomic_fetch_or(&tree->file[file.index].seen, SEEN_TENSOR);
}

static int open_made(struct wloadfs *fs, struct node file)
{
	struct made_look look;
	int r = made_look(fs, file.who, &look);

	if (r == 0)
		r = fused_check(fs, file);
	if (r < 0) {
		made_done(&look);
		return r;
	}
	atomic_store(&look.opened[file.index], true);
	return 0; /* the plan stays in use until the release */
}

int fused_open(struct wloadfs *fs, struct node file)
{
	struct fused_look look CLEANUP(fused_done) = {0};
	struct tensor_state *state;
	int r;

	if (file.kind == NODE_MADE)
		return open_made(fs, file);
	r = fused_look(fs, file.who, &look);
	if (r == 0)
		r = fused_check(fs, file);
	if (r < 0)
		return r;
	state = &look.tree->file[file.index];
	atomic_fetch_or(&state->seen, SEEN_OPEN);
	atomic_fetch_add(&state->opens, 1);
	if (!fused_shows(&look, file.index)) {
		atomic_fetch_sub(&state->opens, 1);
		return -ENOENT;
	}
	look.fs = NULL; /* in use until the release */
	return 0;
}

struct clean_job {
	struct evictor_job job;
	struct node file;
};

/* The last handle of a parameter that is gone: what was read through it goes too. */
static void run_clean(struct wloadfs *fs, struct evictor_job *job)
{
	struct clean_job *clean = (struct clean_job *)job;

	fused_drop_file(fs, clean->file);
	free(clean);
}

void fused_release(struct wloadfs *fs, struct node file)
{
	struct fused_tree *tree = atomic_load(&fs->fused[file.who].tree);
	struct clean_job *clean;

	if (file.kind == NODE_MADE) {
		plans_put(fs, plans_made_slot(fs, file.who));
		return;
	}
	if (atomic_fetch_sub(&tree->file[file.index].opens, 1) == 1 && fused_is_gone(fs, file) &&
	    (clean = malloc(sizeof(*clean)))) {
		*clean = (struct clean_job){.job.run = run_clean, .file = file};
		evictor_push(fs, &clean->job);
	}
	plans_put(fs, plans_fused_slot(fs, file.who));
}

/* ---- removing ---- */

/* Does a parameter that is there need the tensor? */
static bool is_needed(const struct fused_look *look, uint32_t tensor)
{
	const struct param_index *index = &look->planned.shape->index;
	uint32_t cursor = 0, param;

	while ((param = param_index_next(index, tensor, &cursor)) != PARAM_NONE)
		if (fused_shows(look, param))
			return true;
	return false;
}

/* Is any parameter left? Files go mostly in their order, so the next one is the first to ask. */
static bool is_any_left(const struct fused_look *look, uint32_t removed)
{
	uint32_t count = look->tree->params;

	for (uint32_t i = 1; i < count; i++)
		if (fused_shows(look, (removed + i) % count))
			return true;
	return false;
}

/* Drops the claims that removing a parameter leaves without a use. fs->lock held. */
static void drop_needless(struct wloadfs *fs, const struct fused_look *look, uint32_t param,
			  struct mark_changed *changed, int32_t pid)
{
	const struct wload_param *p = wload_plan_param(look->planned.plan, param);

	for (uint32_t s = 0; s < p->source_count; s++)
		if (!is_needed(look, p->sources[s].tensor))
			(void)mark_changed_drop(fs, changed, p->sources[s].tensor, pid);
	if (is_any_left(look, param))
		return;
	for (uint32_t tensor = 0; tensor < changed->tensors; tensor++)
		(void)mark_changed_drop(fs, changed, tensor, pid);
}

struct unlink_job {
	struct evictor_job job;
	fuse_req_t req;
	struct node file;
};

static int remove_param(struct wloadfs *fs, const struct fused_look *look, uint32_t param,
			struct mark_changed *changed, int32_t pid)
{
	LOCK_SCOPE(&fs->lock);

	if (!fused_shows(look, param))
		return -ENOENT;
	atomic_fetch_or(&look->tree->removed[param / WORD_BITS], UINT64_C(1) << param % WORD_BITS);
	drop_needless(fs, look, param, changed, pid);
	return 0;
}

static int unlink_now(struct wloadfs *fs, const struct unlink_job *job)
{
	struct mark_changed changed CLEANUP(mark_changed_free) = {0};
	struct fused_look look CLEANUP(fused_done) = {0};
	uint32_t param = job->file.index;
	int r = fused_look(fs, job->file.who, &look);

	if (r == 0)
		r = mark_changed_init(&changed, fs, job->file.who);
	if (r == 0)
		r = remove_param(fs, &look, param, &changed, fuse_req_ctx(job->req)->pid);
	if (r < 0)
		return r;
	fused_forget_file(fs, job->file);
	if (atomic_load(&look.tree->file[param].opens))
		(void)mark_increment_epoch(fs);
	fused_drop_file(fs, job->file);
	mark_changed_evict(fs, &changed);
	return 0;
}

static void run_unlink(struct wloadfs *fs, struct evictor_job *base)
{
	struct unlink_job *job = (struct unlink_job *)base;

	fuse_reply_err(job->req, -unlink_now(fs, job));
	free(job);
}

void fused_unlink(struct wloadfs *fs, fuse_req_t req, struct node file)
{
	struct unlink_job *job = malloc(sizeof(*job));

	if (!job) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*job = (struct unlink_job){.job.run = run_unlink, .req = req, .file = file};
	evictor_push(fs, &job->job);
}

/* ---- restoring ---- */

static void restore_in(struct wloadfs *fs, uint32_t who, uint32_t first, uint32_t end)
{
	const struct plan_shape *shape = plans_shape(fs, plans_fused_slot(fs, who));
	struct fused_tree *tree = atomic_load(&fs->fused[who].tree);

	for (uint32_t rank = first; tree && rank < end; rank++) {
		uint32_t tensor = wload_inventory_by_name(fs->inv, rank), cursor = 0, param;

		while ((param = param_index_next(&shape->index, tensor, &cursor)) != PARAM_NONE)
			atomic_fetch_and(&tree->removed[param / WORD_BITS],
					 ~(UINT64_C(1) << param % WORD_BITS));
	}
}

void fused_restored(struct wloadfs *fs, uint32_t who, uint32_t first, uint32_t end)
{
	if (!fs->plans)
		return;
	restore_in(fs, CLAIMS_ROOT, first, end);
	for (uint32_t tree = 1; tree < fs_claimants(fs); tree++)
		if (who == CLAIMS_ROOT || who == tree)
			restore_in(fs, tree, first, end);
}
