/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_RULES_MADE_H
#define WLOAD_PLAN_RULES_MADE_H

/* What rules of "fuse", "stack" and "also" make: a plan's names differ. */

#include "loader/plan/rules.h"

/* Whether two rules of one kind could make parameters of the same name. */
bool rules_same_name(const struct rules_fuse *a, const struct rules_fuse *b);

/* Checks that no two rules of any kind could, also where one's leaf has what another's module has.
 *
 * what  names the text in messages
 *
 * Returns 0 or -EBADMSG. */
int rules_check_made(const struct wload_rules *rules, const char *what, struct wload_error *err);

#endif
