/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/module_calls.h"
#include "loader/pipeline/result.h"

int module_calls_open(struct module_calls *calls, struct wload_load *load,
		      const struct wload_plan *plan, const struct wload_load_options *options,
		      struct wload_error *err)
{
	size_t longest = 0;

	*calls = (struct module_calls){.load = load, .options = options};
	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		size_t len = modules_name_len(wload_plan_param(plan, p)->name);

		if (len > longest)
			longest = len;
	}
	calls->name = malloc(longest + 1);
	if (!calls->name)
		return wload_fail(err, ENOMEM, "no memory for a module's name");
	return modules_init(&calls->modules, plan, err);
}

void module_calls_close(struct module_calls *calls)
{
	modules_free(&calls->modules);
	free(calls->name);
	calls->name = NULL;
}

int module_calls_arrived(struct module_calls *calls, uint32_t param, void *base,
			 const uint32_t **ret_params, uint32_t *ret_count, struct wload_error *err)
{
	const struct modules *modules = &calls->modules;
	struct wload_error said = {0};
	struct wload_module done;
	uint32_t module;
	int r;

	if (calls->load->device->ops->keeps)
		calls->load->params[param].device_ptr = base;
	*ret_count = 0;
	if (!modules_arrived(&calls->modules, param, &module))
		return 0;
	done = (struct wload_module){.name = calls->name,
				     .params = modules->params + modules->first[module],
				     .count = modules->first[module + 1] - modules->first[module]};
	memcpy(calls->name, calls->load->params[param].name,
	       modules_name_len(calls->load->params[param].name));
	calls->name[modules_name_len(calls->load->params[param].name)] = '\0';
	*ret_params = done.params;
	*ret_count = done.count;
	r = calls->options->module_done(calls->options->module_ctx, calls->load, &done, &said);
	if (r > 0)
		return wload_fail(err, EINVAL, "module_done of '%s' returned %d, above 0",
				  calls->name, r);
	if (r < 0 && !said.text[0])
		return wload_fail(err, -r, "module_done of '%s': %s", calls->name, strerror(-r));
	return r < 0 ? wload_fail(err, -r, "%s", said.text) : 0;
}

void module_calls_forget(struct module_calls *calls, uint32_t param)
{
	if (param_releases(calls->load->memory.release))
		calls->load->params[param].device_ptr = NULL;
}
