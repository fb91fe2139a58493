/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_RULES_H
#define WLOAD_PLAN_RULES_H

/* The rules of one family, parsed, and the texts of the families that are compiled in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/plan/along.h"
#include "wloadfs/plan.h"

/* Our limits. They bound what a plan costs: fuse.c keeps a table of parts by leaves on its stack.
 */
#define RULES_TEXT_MAX	 ((size_t)64 << 10)
#define RULES_NAME_MAX	 255 /* bytes of any string */
#define RULES_PARTS_MAX	 16  /* "from" of one fuse rule */
#define RULES_LEAVES_MAX 16
#define RULES_LIST_MAX	 64 /* "model_types", "fuse", "split", "modules", "tied" */

struct rules_names {
	const char **items; /* borrowed from the rules' tree */
	size_t count;
};

struct rules_fuse {
	const char *into, *within;
	struct rules_names from, leaves;
};

struct rules_split {
	struct rules_names modules, leaves;
	const struct along *along;
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
	struct rules_fuse *fuse;
	size_t fuse_count;
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

bool rules_names_contain(const struct rules_names *names, const char *name);

#endif
