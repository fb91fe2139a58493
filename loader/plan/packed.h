/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_PACKED_H
#define WLOAD_PLAN_PACKED_H

/* Modules that hold several parts in one: which rows are whose. */

#include "loader/plan/config.h"
#include "loader/plan/draft.h"

/* The shares of a packed rule, in numbers. */
struct packed {
	const struct rules_packed *rule;
	uint64_t shares[RULES_PARTS_MAX]; /* without a common divisor */
	uint64_t total, each;
	const char *lacks; /* a number that config.json does not tell, or NULL */
};

void packed_init(struct packed *packed, const struct rules_packed *rule,
		 const struct config *config);

/* Whether rows can be shared out so. */
bool packed_fits(const struct packed *packed, const struct wload_tensor *tensor);

/* Adds a view of one of the parts of a tensor that fits.
 *
 * index  of the part
 * name   the view's, in the arena
 *
 * Returns 0, -E2BIG, -ENOMEM. */
int packed_view(struct draft *draft, const struct packed *packed, uint32_t tensor, size_t index,
		const char *name, uint32_t *ret_part, struct wload_error *err);

#endif
