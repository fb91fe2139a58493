/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_MODULES_H
#define WLOADFS_MODULES_H

/* The folders of modules/: the dots of tensor names as a tree, without a node for any tensor.
 *
 * In the order of names, all tensors below a module are neighbours, so a folder is a range of name
 * ranks and the length of its prefix:
 *
 *   rank  name                        folders
 *   0     lm_head.weight              [lm_head. 0,1)
 *   1     model.layers.0.mlp.weight   [model. 1,4) [model.layers. 1,3) [model.layers.0. 1,2) …
 *   2     model.layers.1.mlp.weight   …
 *   3     model.norm.weight
 *
 * Folders are numbered in pre-order, so (first, prefix_len) ascends and finds one by bisection. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/tensor.h"

struct module {
	uint32_t first, end; /* name ranks of the tensors below it */
	uint32_t parent;
	uint32_t prefix_len : 31; /* of its name with the last dot; 0 for modules/ itself */
	uint32_t clash : 1; /* a tensor has its name: the folder is spelled with a dot behind */
};

struct modules {
	const struct wload_inventory *inv; /* borrowed */
	struct module *module;		   /* [0] is modules/ itself */
	uint32_t count;
};

#define MODULE_NONE UINT32_MAX

/* Builds the tree; the inventory must outlive it.
 *
 * Returns 0, -E2BIG (over 2^32-2 folders) or -ENOMEM. */
int modules_build(const struct wload_inventory *inv, struct modules *ret);
void modules_free(struct modules *modules);

/* One entry of a folder: a folder below it, or a tensor in it. */
struct module_entry {
	uint32_t module; /* MODULE_NONE for a tensor */
	uint32_t tensor; /* index in the inventory */
	uint32_t next;	 /* name rank to go on from */
	char file[256];	 /* spelled as in the folder */
};

/* The entry of folder `index` at or behind name rank `rank` (from its `first`, then entry.next).
 *
 * Returns false behind the last. */
bool modules_entry(const struct modules *modules, uint32_t index, uint32_t rank,
		   struct module_entry *ret);

/* Finds an entry of a folder by its file name. Returns 0, or -ENOENT. */
int modules_find(const struct modules *modules, uint32_t index, const char *file,
		 struct module_entry *ret);

#endif
