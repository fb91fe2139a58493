/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_FUSE_H
#define WLOAD_PLAN_FUSE_H

#include "loader/plan/config.h"
#include "loader/plan/draft.h"

/* What all rules are applied by. Borrowed. */
struct fuse {
	const struct wload_rules *rules; /* whose packed modules, and rules of "also", count */
	const struct config *config;	 /* tells their numbers */
	enum wload_layout layout;
	enum wload_names names;
};

/* Joins what a rule of "fuse" or "stack" says; notes every group that it finds and has to leave in
 * its parts. With WLOAD_NAMES_HF nothing is joined or noted, and only what one rank has of experts
 * and packed modules made known (own.h).
 *
 * Returns 0, -E2BIG when there are 2^32 parts, or -ENOMEM. */
int fuse_apply(struct draft *draft, const struct rules_fuse *rule, const struct fuse *fuse,
	       struct wload_error *err);

/* Leaves out what a tied rule says is stored elsewhere already. tied: the config's flag. */
void tied_apply(struct draft *draft, const struct rules_tied *rule, bool tied);

#endif
