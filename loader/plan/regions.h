/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_REGIONS_H
#define WLOAD_PLAN_REGIONS_H

/* What several parts need of one tensor, each byte of it once.
 *
 * A region is a source without its dst_offset. Pure. */

#include <stdbool.h>

#include "wloadfs/plan.h"

/* Sorts regions by where they begin, and makes one of those that are the same, and of those whose
 * pieces lie beside each other. Empty ones go. Returns how many are left. */
size_t regions_merge(struct wload_source *regions, size_t count);

/* Whether each ends before the next begins. Of merged ones. */
bool regions_follow(const struct wload_source *regions, size_t count);

/* Which of the merged regions holds a region, and where in it once its pieces lie one behind the
 * other.
 *
 * ret_offset  of the first piece, bytes
 * ret_pitch   from a piece to the next */
size_t regions_find(const struct wload_source *regions, size_t count,
		    const struct wload_source *part, uint64_t *ret_offset, uint64_t *ret_pitch);

#endif
