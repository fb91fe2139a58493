/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PARAM_NAMES_H
#define WLOADFS_PARAM_NAMES_H

/* From the file names of fused/ back to a plan's parameters, as names.h does for tensors. Pure. */

#include <stdint.h>

#include "wloadfs/plan.h"

struct param_names {
	const struct wload_plan *plan; /* borrowed */
	uint32_t *by_name;	       /* parameters, in the order of their names */
};

/* Returns 0 or -ENOMEM; param_names_free() either way. */
int param_names_build(const struct wload_plan *plan, struct param_names *ret);
void param_names_free(struct param_names *names);

/* The parameter with this file name. Returns 0 or -ENOENT. */
int param_names_find(const struct param_names *names, const char *file, uint32_t *ret_param);

#endif
