/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_BUILTIN_H
#define WLOAD_PLAN_BUILTIN_H

#include "wloadfs/plan.h"

/* Parses the compiled-in rules for a model type.
 *
 * ret_rules  to be freed with wload_rules_free(); NULL when no family lists the model type
 *
 * Returns 0, or -ENOMEM. */
int builtin_rules_for(const char *model_type, struct wload_rules **ret_rules,
		      struct wload_error *err);

#endif
