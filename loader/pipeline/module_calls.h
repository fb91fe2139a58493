/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MODULE_CALLS_H
#define WLOAD_MODULE_CALLS_H

/* Tells an engine of each module that is complete (struct wload_load_options, module_done). The
 * finisher's. */

#include "loader/pipeline/modules.h"
#include "wloadfs/loader.h"

struct module_calls {
	struct modules modules;
	struct wload_load *load; /* borrowed; filled by result_fill() */
	const struct wload_load_options *options;
	char *name; /* room for the longest module's */
};

/* options  with a module_done
 *
 * Returns 0 or -ENOMEM; module_calls_close() either way. */
int module_calls_open(struct module_calls *calls, struct wload_load *load,
		      const struct wload_plan *plan, const struct wload_load_options *options,
		      struct wload_error *err);
void module_calls_close(struct module_calls *calls);

/* A parameter is there. Where its module is complete with it, the engine is told.
 *
 * base       its memory; where that is freed during the load, the load shows it until
 *            module_calls_forget()
 * ret_count  parameters of the module that is complete; 0 where none is
 *
 * Returns 0, or what the engine said. */
int module_calls_arrived(struct module_calls *calls, uint32_t param, void *base,
			 const uint32_t **ret_params, uint32_t *ret_count, struct wload_error *err);

/* The parameter's memory goes. */
void module_calls_forget(struct module_calls *calls, uint32_t param);

#endif
