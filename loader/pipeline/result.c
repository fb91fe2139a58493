/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/result.h"

struct wload_load *result_new(void)
{
	struct wload_load *load = calloc(1, sizeof(*load));

	if (load)
		atomic_init(&load->refs, 1);
	return load;
}

static bool is_unused(const struct wload_plan *plan, uint32_t tensor)
{
	return wload_plan_unused(plan, tensor);
}

/* Counts what the copies take, and allocates it. */
static int allocate(struct wload_load *load, const struct wload_inventory *inv,
		    const struct wload_plan *plan)
{
	size_t names = 0, dims = 0, unused = 0;

	for (uint32_t p = 0; p < wload_plan_count(plan); p++) {
		names += strlen(wload_plan_param(plan, p)->name) + 1;
		dims += wload_plan_param(plan, p)->rank;
	}
	for (uint32_t t = 0; t < wload_inventory_count(inv); t++) {
		if (!is_unused(plan, t))
			continue;
		names += strlen(wload_inventory_tensor(inv, t).name) + 1;
		unused++;
	}
	load->params = calloc((size_t)wload_plan_count(plan) + 1, sizeof(*load->params));
	load->by_name = calloc((size_t)wload_plan_count(plan) + 1, sizeof(*load->by_name));
	load->unused = calloc(unused + 1, sizeof(*load->unused));
	load->names = malloc(names + 1);
	load->shapes = calloc(dims + 1, sizeof(*load->shapes));
	load->family = strdup(wload_plan_family(plan));
	load->note = wload_plan_note(plan) ? strdup(wload_plan_note(plan)) : NULL;
	return load->params && load->by_name && load->unused && load->names && load->shapes &&
			       load->family && (load->note || !wload_plan_note(plan))
		       ? 0
		       : -ENOMEM;
}

static const char *copy_name(char **at, const char *name)
{
	const char *copy = *at;

	*at = stpcpy(*at, name) + 1;
	return copy;
}

static int by_name(const void *left, const void *right, void *ctx)
{
	const struct wload_loaded *params = ctx;

	return strcmp(params[*(const uint32_t *)left].name, params[*(const uint32_t *)right].name);
}

static void copy_param(struct wload_load *load, const struct wload_param *param, uint32_t index,
		       char **names, uint64_t **shapes)
{
	bool here = load->device->ops->keeps && !param_releases(load->memory.release);

	load->by_name[index] = index;
	load->params[index] = (struct wload_loaded){
		.name = copy_name(names, param->name),
		.shape = *shapes,
		.rank = param->rank,
		.dtype = param->dtype,
		.bytes = param->bytes,
		.device_ptr = here ? load->memory.bases[index] : NULL,
	};
	if (param->rank)
		memcpy(*shapes, param->shape, param->rank * sizeof(**shapes));
	*shapes += param->rank;
}

int result_fill(struct wload_load *load, const struct wload_inventory *inv,
		const struct wload_plan *plan, struct wload_error *err)
{
	char *names;
	uint64_t *shapes;

	if (allocate(load, inv, plan) < 0)
		return wload_fail(err, ENOMEM, "no memory for the names of %u parameters",
				  wload_plan_count(plan));
	names = load->names;
	shapes = load->shapes;
	load->count = wload_plan_count(plan);
	for (uint32_t p = 0; p < load->count; p++)
		copy_param(load, wload_plan_param(plan, p), p, &names, &shapes);
	for (uint32_t t = 0; t < wload_inventory_count(inv); t++)
		if (is_unused(plan, t))
			load->unused[load->unused_count++] =
				copy_name(&names, wload_inventory_tensor(inv, t).name);
	qsort_r(load->by_name, load->count, sizeof(*load->by_name), by_name, load->params);
	load->report.device = load->device->label;
	load->report.family = load->family;
	load->report.note = load->note;
	load->report.tp = wload_plan_tp(plan);
	load->report.rank = wload_plan_rank(plan);
	load->report.ep = wload_plan_ep(plan);
	load->report.layout = wload_plan_layout(plan);
	return 0;
}

int result_note(struct wload_load *load, const char *note, struct wload_error *err)
{
	char *both;

	if (asprintf(&both, "%s%s%s", load->note ? load->note : "", load->note ? "; " : "", note) <
	    0)
		return wload_fail(err, ENOMEM, "no memory for a note");
	free(load->note);
	load->note = both;
	load->report.note = both;
	return 0;
}

int result_warn(struct wload_load *load, const struct wload_checkpoint *ckpt,
		struct wload_error *err)
{
	uint32_t count = 0;

	while (wload_checkpoint_warning(ckpt, count))
		count++;
	load->warnings = calloc((size_t)count + 1, sizeof(*load->warnings));
	for (; load->warnings && load->warning_count < count; load->warning_count++) {
		char *copy = strdup(wload_checkpoint_warning(ckpt, load->warning_count));

		if (!copy)
			break;
		load->warnings[load->warning_count] = copy;
	}
	if (!load->warnings || load->warning_count < count)
		return wload_fail(err, ENOMEM, "no memory for %u warnings", count);
	return 0;
}

struct wload_load *wload_load_ref(struct wload_load *load)
{
	atomic_fetch_add(&load->refs, 1);
	return load;
}

void wload_load_unref(struct wload_load *load)
{
	if (!load || atomic_fetch_sub(&load->refs, 1) != 1)
		return;
	pinned_close(&load->pinned);
	param_memory_close(&load->memory);
	device_close(load->device);
	for (uint32_t i = 0; i < load->warning_count; i++)
		free(load->warnings[i]);
	free(load->warnings);
	free(load->params);
	free(load->by_name);
	free(load->unused);
	free(load->names);
	free(load->shapes);
	free(load->family);
	free(load->note);
	free(load);
}

const struct wload_report *wload_load_report(const struct wload_load *load)
{
	return &load->report;
}

enum wload_device_kind wload_load_device(const struct wload_load *load, int *ret_ordinal)
{
	if (ret_ordinal)
		*ret_ordinal = load->device->ordinal;
	return load->device->ops->kind;
}

uint32_t wload_load_count(const struct wload_load *load)
{
	return load->count;
}

const struct wload_loaded *wload_load_param(const struct wload_load *load, uint32_t index)
{
	return index < load->count ? &load->params[index] : NULL;
}

const struct wload_loaded *wload_load_find(const struct wload_load *load, const char *name)
{
	uint32_t low = 0, high = load->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, load->params[load->by_name[middle]].name);

		if (order == 0)
			return &load->params[load->by_name[middle]];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct wload_sample *wload_load_samples(const struct wload_load *load, uint32_t *ret_count)
{
	*ret_count = load->timeline.count;
	return load->timeline.samples;
}

const char *wload_load_warning(const struct wload_load *load, uint32_t i)
{
	return i < load->warning_count ? load->warnings[i] : NULL;
}

const char *wload_load_unused(const struct wload_load *load, uint32_t i)
{
	return i < load->unused_count ? load->unused[i] : NULL;
}
