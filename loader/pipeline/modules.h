/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MODULES_H
#define WLOAD_MODULES_H

/* Which parameters make a module, and when a module is complete. Pure; belongs to one thread. */

#include "wloadfs/plan.h"

struct modules {
	uint32_t *of;	  /* each parameter's module */
	uint32_t *params; /* of all modules, one behind the other, each in the plan's order */
	uint32_t *first;  /* each module's first one in params; one more at the end */
	uint32_t *left;	  /* parameters that each module still waits for */
	uint32_t count;
};

/* Bytes of a parameter's name that are its module's: up to its last dot, or none. */
size_t modules_name_len(const char *name);

/* Returns 0 or -ENOMEM; modules_free() either way. */
int modules_init(struct modules *modules, const struct wload_plan *plan, struct wload_error *err);
void modules_free(struct modules *modules);

/* A parameter is there. Returns whether its module, *ret_module, is complete with it. */
bool modules_arrived(struct modules *modules, uint32_t param, uint32_t *ret_module);

#endif
