/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_LAYER_RUNS_H
#define WLOADFS_LAYER_RUNS_H

/* A checkpoint's layers, and where on the disk they lie. Pure.
 *
 * A tensor's layer is its name up to and including its first component that is a number
 * ("model.layers.0.mlp.up_proj.weight": "model.layers.0"), else its module, the name without its
 * last component ("model.norm.weight": "model.norm"); of a name without dots the name itself.
 *
 * Neighbours on the disk are mostly of one layer, so a layer is a few runs of neighbours: memory
 * goes by runs, not by tensors. */

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/tensor.h"

struct layer {
	const char *name; /* its first name_len bytes; borrowed from the inventory */
	uint32_t name_len;
	uint32_t tensors;
	uint64_t bytes;
};

/* Neighbours of one layer in one shard. */
struct layer_run {
	uint32_t layer;
	uint32_t first, end; /* tensors */
};

struct layer_runs {
	struct layer *layer; /* in disk order of their first tensors */
	uint32_t count;
	struct layer_run *run; /* in disk order */
	uint32_t run_count;
};

/* How many bytes of a tensor's name are its layer's. */
size_t layer_name_len(const char *name);

/* Groups the tensors; the inventory must outlive the result. Returns 0 or -ENOMEM. */
int layer_runs_build(const struct wload_inventory *inv, struct layer_runs *ret);
void layer_runs_free(struct layer_runs *layers);

#endif
