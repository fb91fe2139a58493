/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_RULES_H
#define WLOAD_PLAN_RULES_H

/* The rules of one family, parsed, and the texts of the families that are compiled in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/plan/along.h"
#include "wloadfs/plan.h"

/* Our limits. They bound what a plan costs. */
#define RULES_TEXT_MAX	  ((size_t)64 << 10)
#define RULES_NAME_MAX	  255 /* bytes of any string */
#define RULES_PARTS_MAX	  16  /* "from" of one fuse rule */
#define RULES_LEAVES_MAX  16
#define RULES_HEAD_MAX	  4    /* numbers that make the rows of a head */
#define RULES_LIST_MAX	  64   /* "model_types", "fuse", "split", "modules", "tied" … */
#define RULES_EXPERTS_MAX 4096 /* of one stack */

struct rules_names {
	const char **items; /* borrowed from the rules' tree */
	size_t count;
};

/* How large a part of a packed module is beside the others; or how many of something there are. */
struct rules_share {
	const char *key; /* config.json's number; NULL: this one */
	uint64_t number;
};

/* A rule of "fuse", of "stack", or of "also". */
struct rules_fuse {
	const char *into, *within;
	struct rules_names from, leaves;
	unsigned int layouts; /* bits 1 << enum wload_layout; 0: any */
	bool requantise;      /* parts of NVFP4 that differ in weight_scale_2 */
	/* of a stack */
	bool stacked;
	const struct along *along;     /* how each expert's parts are split */
	struct rules_names every_rank; /* leaves of which each rank has all experts' */
	/* of "also" */
	bool also;
	bool transpose;
	struct rules_share each; /* how many the rows are shared out among */
};

struct rules_packed {
	const char *module, *within;
	struct rules_names parts;
	struct rules_share *shares; /* one a part */
	size_t share_count;
	struct rules_share each; /* how often they follow each other; {NULL, 0}: once */
};

/* A tensor of all experts of a layer. */
struct rules_experts {
	const char *tensor, *within;
	const char *leaf; /* of the parts, as which they are known */
	struct rules_names parts;
	bool interleaved; /* row by row; else one behind the other */
	bool transposed;  /* each expert's matrix */
};

struct rules_split {
	struct rules_names modules, leaves;
	struct rules_share head[RULES_HEAD_MAX]; /* numbers whose sum is the rows of a head */
	size_t head_count;
	const struct along *along;
	bool divisor;	      /* among as many ranks as divide the blocks (shares.h) */
	unsigned int layouts; /* as above */
};

struct rules_tied {
	const char *when, *skip;
	const char *copy_of; /* NULL: skip without looking for it */
	bool fallback;	     /* "default" */
};

struct wload_rules {
	bool builtin;		  /* nothing but a mark: the texts below are meant */
	struct json_object *root; /* owns every string */
	const char *family;
	struct rules_names model_types;
	struct rules_names apart; /* modules that no other rule is for */
	struct rules_fuse *fuse;
	size_t fuse_count;
	struct rules_fuse *stack;
	size_t stack_count;
	struct rules_fuse *also;
	size_t also_count;
	struct rules_packed *packed;
	size_t packed_count;
	struct rules_experts *experts;
	size_t experts_count;
	struct rules_split *split;
	size_t split_count;
	struct rules_tied *tied;
	size_t tied_count;
};

struct rules_text {
	const char *name; /* of the file in loader/plan/rules/ */
	const char *text;
};

/* Written by scripts/embed-rules. */
extern const struct rules_text rules_texts[];
extern const size_t rules_text_count;

/* What stands between a rule's "into" and a leaf of what it makes, and what of the leaf's name
 * follows: "." and "weight" of a fuse rule, "_" and "weight" of a stack; of "also" the weight has
 * none, and others go without that word: k_b_proj_trans, k_b_proj_trans_scale_inv. */
const char *rules_joint(const struct rules_fuse *rule, const char *leaf, const char **ret_leaf);

/* The length of a module that a name begins with, and a dot after it, or 0. */
static inline size_t rules_begin(const char *name, const char *module)
{
	size_t len = 0;

	while (module[len] && name[len] == module[len])
		len++;
	return module[len] == '\0' && name[len] == '.' ? len : 0;
}

/* Whether a tensor is within a module that is apart. */
bool rules_apart(const struct wload_rules *rules, const char *name);

bool rules_names_contain(const struct rules_names *names, const char *name);

/* Whether there is a layout that two rules are both for. */
static inline bool rules_layouts_meet(unsigned int a, unsigned int b)
{
	return !a || !b || a & b;
}

/* Whether a rule for some layouts is one for this. */
static inline bool rules_layout_fits(unsigned int layouts, enum wload_layout layout)
{
	return !layouts || layouts & 1u << layout;
}

#endif
