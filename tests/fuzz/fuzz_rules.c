/* SPDX-License-Identifier: Apache-2.0 */
/* Property: with whatever rules parse, a plan uses each tensor once or not at all, and its bytes
 * are those of the tensors that are used. */

#include <assert.h>
#include <stdlib.h>

#include "loader/checkpoint/inventory.h"
#include "wloadfs/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len)
{
	static const char *const names[] = {"a.q.w", "a.k.w", "a.q.b", "b.a.k.w", "b.a.q.w", "h"};
	struct wload_tensor t = {.shape = (const uint64_t[]){2, 3}, .rank = 2, .bytes = 24};
	struct wload_inventory *inv;
	struct wload_rules *rules;
	struct wload_plan *plan;
	uint32_t i, pair[2], used = 0;

	t.dtype = WLOAD_DTYPE_F32;
	if (wload_rules_parse((const char *)text, len, "fuzz", &rules, NULL) < 0)
		return 0;
	inv = inventory_new();
	for (i = 0; i < sizeof(names) / sizeof(*names); i++, t.offset += t.bytes) {
		t.name = names[i];
		inventory_add(inv, &t, NULL);
	}
	if (inventory_seal(inv, pair, NULL) < 0 ||
	    wload_plan_build(inv, "{\"t\": true}", rules, &plan, NULL) < 0)
		abort();
	for (i = 0; i < wload_inventory_count(inv); i++)
		used += wload_plan_uses(plan, i);
	assert(used <= wload_inventory_count(inv) && 24 * used == wload_plan_bytes(plan));
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
	return 0;
}
