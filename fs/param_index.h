/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PARAM_INDEX_H
#define WLOADFS_PARAM_INDEX_H

/* What a mount keeps of a plan for good: how large each parameter is, and which of them need a
 * tensor. It takes 4 bytes a tensor, where a plan with all its sources takes a hundred, so that a
 * tensor's consumption finds the files that go with it although the plan itself was put away.
 *
 *   tensor   first   more (by tensor, then parameter)
 *   0        0       (1, 2) (1, 5)
 *   1        1
 *   2        none
 *
 * Nearly every tensor has one parameter; the others are in the list. Pure. */

#include <stdint.h>

#include "wloadfs/plan.h"

#define PARAM_NONE UINT32_MAX

struct param_use {
	uint32_t tensor, param;
};

struct param_index {
	uint32_t params;
	uint64_t *bytes;	/* of each parameter */
	uint32_t *first;	/* of each tensor: the first parameter that needs it */
	struct param_use *more; /* all others, sorted */
	uint32_t more_count;
};

/* Returns 0 or -ENOMEM; param_index_free() either way. */
int param_index_build(const struct wload_plan *plan, uint32_t tensors, struct param_index *ret);
void param_index_free(struct param_index *index);

/* The next parameter that needs a tensor, PARAM_NONE behind the last.
 *
 * cursor  0 for the first */
uint32_t param_index_next(const struct param_index *index, uint32_t tensor, uint32_t *cursor);

#endif
