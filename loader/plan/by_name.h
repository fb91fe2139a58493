/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_BY_NAME_H
#define WLOAD_PLAN_BY_NAME_H

/* Finding parameters of a plan by name, and by a name with an ending. */

#include "wloadfs/plan.h"

#define BY_NAME_NONE UINT32_MAX

struct by_name {
	const struct wload_param *params; /* borrowed; their names must not change */
	uint32_t *order;
	uint32_t count;
};

/* Returns 0 or -ENOMEM. */
int by_name_init(struct by_name *names, const struct wload_param *params, uint32_t count,
		 struct wload_error *err);

void by_name_done(struct by_name *names);

/* The parameter whose name is len bytes of `name`, then `ending`; or BY_NAME_NONE. */
uint32_t by_name_find(const struct by_name *names, const char *name, size_t len,
		      const char *ending);

#endif
