/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_FUSE_H
#define WLOAD_PLAN_FUSE_H

#include "loader/plan/draft.h"
#include "loader/plan/rules.h"

/* Joins what a fuse rule says; notes every group that it finds and has to leave in its parts.
 *
 * Returns 0, or -ENOMEM. */
int fuse_apply(struct draft *draft, const struct rules_fuse *rule, struct wload_error *err);

/* Leaves out what a tied rule says is stored elsewhere already. tied: the config's flag. */
void tied_apply(struct draft *draft, const struct rules_tied *rule, bool tied);

#endif
