/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_ARENA_H
#define WLOAD_PLAN_ARENA_H

/* Memory that is handed out piece by piece and freed all at once. A plan makes thousands of names
 * and shapes of a few dozen bytes, none of which ever goes before the plan does. */

#include <stddef.h>

struct arena {
	struct arena_block *newest; /* NULL: empty; a zeroed struct is ready for use */
};

/* Takes memory, aligned for any uint64_t or pointer. Returns NULL when memory is short. */
void *arena_take(struct arena *arena, size_t bytes);

/* Copies a string into the arena. Returns NULL when memory is short. */
char *arena_copy(struct arena *arena, const char *text);

void arena_free(struct arena *arena);

#endif
