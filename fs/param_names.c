/* SPDX-License-Identifier: Apache-2.0 */
/* Bisects a plan's names (see param_names.h). A name of over 255 bytes carries a hash, from which
 * nothing leads back: those few are spelled one by one. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/param_names.h"
#include "loader/checkpoint/names.h"

static const char *name_of(const struct wload_plan *plan, uint32_t param)
{
	return wload_plan_param(plan, param)->name;
}

static int by_name(const void *a, const void *b, void *plan)
{
	return strcmp(name_of(plan, *(const uint32_t *)a), name_of(plan, *(const uint32_t *)b));
}

int param_names_build(const struct wload_plan *plan, struct param_names *ret)
{
	uint32_t count = wload_plan_count(plan);

	*ret = (struct param_names){.plan = plan,
				    .by_name = calloc((size_t)count + 1, sizeof(*ret->by_name))};
	if (!ret->by_name)
		return -ENOMEM;
	for (uint32_t p = 0; p < count; p++)
		ret->by_name[p] = p;
	qsort_r(ret->by_name, count, sizeof(*ret->by_name), by_name, (void *)(uintptr_t)plan);
	return 0;
}

void param_names_free(struct param_names *names)
{
	free(names->by_name);
	*names = (struct param_names){0};
}

static int find_shortened(const struct param_names *names, const char *file, uint32_t *ret_param)
{
	char spelled[NAME_FILE_MAX + 1];

	for (uint32_t p = 0; p < wload_plan_count(names->plan); p++) {
		const char *name = name_of(names->plan, p);

		/* Spelling makes a byte three at most: short names cannot be shortened. */
		if (strlen(name) * 3 <= NAME_FILE_MAX)
			continue;
		name_to_file(name, strlen(name), "", spelled);
		if (strcmp(spelled, file) == 0) {
			*ret_param = p;
			return 0;
		}
	}
	return -ENOENT;
}

int param_names_find(const struct param_names *names, const char *file, uint32_t *ret_param)
{
	uint32_t lo = 0, hi = wload_plan_count(names->plan);
	size_t len = strlen(file), name_len;
	char name[NAME_FILE_MAX + 1];

	if (name_is_shortened(file, len))
		return find_shortened(names, file, ret_param);
	if (name_from_file(file, len, name, sizeof(name), &name_len) < 0)
		return -ENOENT;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int order = strcmp(name_of(names->plan, names->by_name[mid]), name);

		if (order == 0) {
			*ret_param = names->by_name[mid];
			return 0;
		}
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -ENOENT;
}
