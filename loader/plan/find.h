/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_FIND_H
#define WLOAD_PLAN_FIND_H

/* Finding what a rule joins by tensors' names:
 *
 *   model.layers.0.self_attn.q_proj.weight       fuse: "within" self_attn, "from" q_proj
 *   '------- stem ---------' module leaf
 *
 *   model.layers.3.mlp.experts.17.up_proj.weight  stack: "within" mlp.experts, "from" up_proj
 *   '------- stem -----------' 17 module  leaf
 *
 *   model.layers.3.mlp.experts.gate_up_proj       a tensor of all experts
 *   '------- stem -----------'
 *
 * A module is one of "from", or a packed one that holds several of them. Pure. */

#include "loader/plan/packed.h"

#define FIND_PACKED_MAX 16 /* packed modules of one rule */

struct find_module {
	const char *name;
	size_t len;
	uint32_t part;		     /* index in "from"; not of a packed one */
	const struct packed *packed; /* NULL: one part */
};

struct find {
	const struct rules_fuse *rule;
	size_t within_len;
	struct packed packed[FIND_PACKED_MAX];
	struct find_module modules[RULES_PARTS_MAX + FIND_PACKED_MAX];
	size_t module_count;
	const struct rules_experts *experts[FIND_PACKED_MAX]; /* tensors of all */
	size_t experts_count;
};

struct found {
	size_t stem_len; /* with the last dot */
	uint32_t expert; /* 0 where the rule stacks nothing; RULES_EXPERTS_MAX: that, or more */
	const struct find_module *module; /* NULL: it is of all experts */
	const struct rules_experts *experts;
	const char *leaf; /* in the name, or the rule's */
};

/* rules, config  borrowed */
void find_init(struct find *find, const struct rules_fuse *rule, const struct wload_rules *rules,
	       const struct config *config);

/* Finds the first place in a name that fits. */
bool find_in(const struct find *find, const char *name, struct found *ret);

/* Of a name that begins with a stem, what follows it. */
bool find_behind(const struct find *find, const char *name, size_t stem_len, struct found *ret);

#endif
