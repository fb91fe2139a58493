/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/modules.h"

size_t modules_name_len(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : 0;
}

static int compare_modules(const char *a, const char *b)
{
	size_t a_len = modules_name_len(a), b_len = modules_name_len(b);
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int by_module(const void *left, const void *right, void *ctx)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	int order = compare_modules(wload_plan_param(ctx, a)->name, wload_plan_param(ctx, b)->name);

	return order ? order : (a > b) - (a < b);
}

/* Numbers the modules along the sorted parameters. */
static void number_modules(struct modules *m, const struct wload_plan *plan)
{
	uint32_t n = wload_plan_count(plan);

	for (uint32_t i = 0; i < n; i++) {
		const char *name = wload_plan_param(plan, m->params[i])->name;

		if (i == 0 ||
		    compare_modules(wload_plan_param(plan, m->params[i - 1])->name, name) != 0)
			m->first[m->count++] = i;
		m->of[m->params[i]] = m->count - 1;
		m->left[m->count - 1]++;
	}
	m->first[m->count] = n;
}

int modules_init(struct modules *m, const struct wload_plan *plan, struct wload_error *err)
{
	uint32_t n = wload_plan_count(plan);

	*m = (struct modules){.of = calloc((size_t)n + 1, sizeof(*m->of)),
			      .params = calloc((size_t)n + 1, sizeof(*m->params)),
			      .first = calloc((size_t)n + 1, sizeof(*m->first)),
			      .left = calloc((size_t)n + 1, sizeof(*m->left))};
	if (!m->of || !m->params || !m->first || !m->left)
		return wload_fail(err, ENOMEM, "no memory for the modules of %u parameters", n);
	for (uint32_t i = 0; i < n; i++)
		m->params[i] = i;
	qsort_r(m->params, n, sizeof(*m->params), by_module, (void *)plan);
	number_modules(m, plan);
	return 0;
}

void modules_free(struct modules *m)
{
	free(m->of);
	free(m->params);
	free(m->first);
	free(m->left);
	*m = (struct modules){0};
}

bool modules_arrived(struct modules *m, uint32_t param, uint32_t *ret_module)
{
	*ret_module = m->of[param];
	return --m->left[*ret_module] == 0;
}
