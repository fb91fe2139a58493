/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes, sorted. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/plan/by_name.h"

static int compare(const void *left, const void *right, void *ctx)
{
	const struct wload_param *params = ctx;

	return strcmp(params[*(const uint32_t *)left].name, params[*(const uint32_t *)right].name);
}

int by_name_init(struct by_name *names, const struct wload_param *params, uint32_t count,
		 struct wload_error *err)
{
	*names = (struct by_name){.params = params, .count = count};
	names->order = malloc((count ? count : 1) * sizeof(*names->order));
	if (!names->order)
		return wload_fail(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < count; i++)
		names->order[i] = i;
	qsort_r(names->order, count, sizeof(*names->order), compare, (void *)params);
	return 0;
}

void by_name_done(struct by_name *names)
{
	free(names->order);
	names->order = NULL;
}

uint32_t by_name_find(const struct by_name *names, const char *name, size_t len, const char *ending)
{
	uint32_t first = 0, end = names->count;

	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		const char *other = names->params[names->order[middle]].name;
		int order = strncmp(name, other, len);

		if (order == 0)
			order = strcmp(ending, other + len);
		if (order == 0)
			return names->order[middle];
		if (order < 0)
			end = middle;
		else
			first = middle + 1;
	}
	return BY_NAME_NONE;
}
