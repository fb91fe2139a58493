/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_ALSO_H
#define WLOAD_PLAN_ALSO_H

#include "loader/plan/fuse.h"
#include "loader/plan/group.h"

/* Makes what the rules of "also" say of the parts of a group that was joined; notes what can't be.
 *
 * Returns 0, -E2BIG, -ENOMEM. */
int also_apply(struct draft *draft, const struct group *group, const struct fuse *fuse,
	       struct wload_error *err);

#endif
