/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a plan's sources around (see param_index.h). */

#include <errno.h>
#include <stdlib.h>

#include "fs/param_index.h"
#include "loader/base/checked.h"
#include "loader/base/cleanup.h"

static int by_tensor(const void *a, const void *b)
{
	const struct param_use *x = a, *y = b;

	if (x->tensor != y->tensor)
		return x->tensor < y->tensor ? -1 : 1;
	return (x->param > y->param) - (x->param < y->param);
}

/* A parameter needs a tensor: the first one is at hand, further ones are listed. */
static bool add_use(struct param_index *index, size_t *cap, struct param_use use)
{
	if (index->first[use.tensor] == PARAM_NONE) {
		index->first[use.tensor] = use.param;
		return true;
	}
	if (!grow_array(&index->more, cap, (size_t)index->more_count + 1, sizeof(*index->more)))
		return false;
	index->more[index->more_count++] = use;
	return true;
}

/* last  of each tensor, the last parameter that was found to need it */
static int add_param(struct param_index *index, const struct wload_param *param, uint32_t p,
		     uint32_t *last, size_t *cap)
{
	index->bytes[p] = param->bytes;
	for (uint32_t s = 0; s < param->source_count; s++) {
		uint32_t tensor = param->sources[s].tensor;

		if (last[tensor] == p)
			continue;
		last[tensor] = p;
		if (!add_use(index, cap, (struct param_use){tensor, p}))
			return -ENOMEM;
	}
	return 0;
}

int param_index_build(const struct wload_plan *plan, uint32_t tensors, struct param_index *ret)
{
	size_t room = ((size_t)tensors + 1) * sizeof(uint32_t), cap = 0;
	CLEANUP_FREE uint32_t *last = malloc(room);
	int r = 0;

	*ret = (struct param_index){.params = wload_plan_count(plan), .first = malloc(room)};
	ret->bytes = calloc((size_t)ret->params + 1, sizeof(*ret->bytes));
	if (!last || !ret->first || !ret->bytes)
		return -ENOMEM;
	for (uint32_t t = 0; t < tensors; t++)
		ret->first[t] = last[t] = PARAM_NONE;
	for (uint32_t p = 0; r == 0 && p < ret->params; p++)
		r = add_param(ret, wload_plan_param(plan, p), p, last, &cap);
	if (ret->more_count)
		qsort(ret->more, ret->more_count, sizeof(*ret->more), by_tensor);
	return r;
}

void param_index_free(struct param_index *index)
{
	free(index->bytes);
	free(index->first);
	free(index->more);
	*index = (struct param_index){0};
}

/* Where a tensor's further uses begin. */
static uint32_t more_of(const struct param_index *index, uint32_t tensor)
{
	uint32_t lo = 0, hi = index->more_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (index->more[mid].tensor < tensor)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t param_index_next(const struct param_index *index, uint32_t tensor, uint32_t *cursor)
{
	uint32_t at;

	if (*cursor == 0) {
		*cursor = 1 + more_of(index, tensor);
		return index->first[tensor];
	}
	at = *cursor - 1;
	if (at >= index->more_count || index->more[at].tensor != tensor)
		return PARAM_NONE;
	++*cursor;
	return index->more[at].param;
}
