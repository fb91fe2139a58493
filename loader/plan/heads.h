/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_HEADS_H
#define WLOAD_PLAN_HEADS_H

/* Which heads of a dimension a rank has. */

#include "loader/plan/split.h"

/* Works out the range of whole heads.
 *
 * rule  whose "head" are the rows of one; none: config.json's "head_dim", if it has one
 *
 * Returns 0, or -EINVAL when config.json does not tell how many there are, or they do not fill the
 * dimension or can't be shared out. */
int heads_range(const struct split *split, const struct wload_tensor *tensor,
		const struct rules_split *rule, struct split_range *ret_range,
		struct wload_error *err);

#endif
