/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PLANS_H
#define WLOADFS_PLANS_H

/* The plans that fused/ and the ranks' checkpoints are made by.
 *
 * A plan of 180,364 tensors takes tens of megabytes and half a second, so none is built before
 * somebody looks, and of those that nobody has open only as many are kept as fit PLANS_IDLE_BYTES;
 * what was used longest ago goes first. What must be known for good (param_index.h, made.h) stays:
 * it is a tenth of that. Plans are pure functions of the checkpoint, so that one that is built
 * again numbers its parameters as before, and node ids keep their meaning.
 *
 * There is a slot for each plan that a mount can have:
 *
 *   0             the whole checkpoint: fused/ at the root, and of ranks without tp
 *   1 + R         fused/ of rank R, with tp
 *   1 + tp + R    its checkpoint's, where names=hf makes that another plan */

#include "fs/fs.h"
#include "fs/made.h"
#include "fs/param_index.h"
#include "fs/param_names.h"

#define PLANS_IDLE_BYTES (64u << 20)

/* What is known once a plan was built; never changes, and stays. */
struct plan_shape {
	struct param_index index;
	struct made made; /* of a rank's checkpoint; else empty */
};

/* A plan, until plans_put(). */
struct planned {
	const struct wload_plan *plan;
	const struct param_names *names;
	const struct plan_shape *shape;
	uint32_t slot;
};

/* Looks whether there can be plans, with what fs->plan asks for: rules and config.json are read,
 * and with tp the plans of the first and the last rank are built and put away. Where fused/ is just
 * not possible the mount does without, and says why. Does not need fs->own.
 *
 * Returns 0, or -errno with err filled: what was asked for can't be. */
int plans_start(struct wloadfs *fs, own_warn warn, void *warn_ctx, struct wload_error *err);
void plans_free(struct wloadfs *fs);

/* Does the mount have fused/? */
bool plans_any(const struct wloadfs *fs);

/* Is ranks/R a checkpoint? */
static inline bool plans_make_ranks(const struct wloadfs *fs)
{
	return fs->plan.tp != 0;
}

/* The slot of fused/ in a claimant's tree, and of its checkpoint (with tp, not the root's). */
uint32_t plans_fused_slot(const struct wloadfs *fs, uint32_t who);
uint32_t plans_made_slot(const struct wloadfs *fs, uint32_t who);

/* Gives a plan, which is built where it is not at hand. Any thread; waits for another that builds
 * it.
 *
 * Returns 0, -EIO when it can't be built (the log says why, once), or -ENOMEM. */
int plans_get(const struct wloadfs *fs, uint32_t slot, struct planned *ret);

/* The same where it is at hand. Returns false where it is not; waits for nothing. */
bool plans_peek(const struct wloadfs *fs, uint32_t slot, struct planned *ret);

/* Gives it back; for CLEANUP() there is PLANNED_SCOPE. */
void plans_put(const struct wloadfs *fs, uint32_t slot);

/* What is known of a slot's plan; NULL: it was never built, and nobody has seen a name of it. */
const struct plan_shape *plans_shape(const struct wloadfs *fs, uint32_t slot);

/* The text that begins a file of a rank's checkpoint (made_text()), made at the first need.
 * Borrowed until plans_put().
 *
 * Returns 0 or -errno. */
int plans_text(const struct wloadfs *fs, const struct planned *planned, uint32_t file,
	       const uint8_t **ret_bytes, size_t *ret_len);

#endif
