/* SPDX-License-Identifier: Apache-2.0 */
/* A tied tensor is a copy of another one by definition, also where the checkpoint holds both: the
 * reference loads the other and drops this one (transformers, `_tied_weights_keys`). Where only
 * this one is there it is what the checkpoint has, and stays. */

#include "loader/plan/fuse.h"

void tied_apply(struct draft *draft, const struct rules_tied *rule, bool tied)
{
	uint32_t skip, other;

	if (!tied || wload_inventory_find(draft->inv, rule->skip, &skip) < 0 ||
	    draft->owner[skip] != DRAFT_FREE)
		return;
	if (rule->copy_of && wload_inventory_find(draft->inv, rule->copy_of, &other) < 0) {
		draft_note(draft, "'%s' stays, for '%s', which it is tied to, is not there",
			   rule->skip, rule->copy_of);
		return;
	}
	draft_leave_out(draft, skip);
}
