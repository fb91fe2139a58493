/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_OWN_H
#define WLOAD_PLAN_OWN_H

/* Plans whose parameters are the checkpoint's own tensors. */

#include "loader/plan/group.h"

/* Claims those tensors of a group of which a rank's part does not follow from the split rule of
 * their own name: experts, and modules that hold several parts.
 *
 * Returns 0, -E2BIG, -ENOMEM. */
int own_group(struct draft *draft, const struct group *group, struct wload_error *err);

#endif
