/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_NAMES_H
#define WLOADFS_NAMES_H

/* From the file names of tensors/ and npy/ back to tensors. Nearly every name is spelled in full
 * and found in the inventory; the few that are over 255 bytes carry a hash, and are kept in a list
 * sorted by it. */

#include <stdint.h>

#include "wloadfs/tensor.h"

#define NPY_SUFFIX ".npy"

struct names_long {
	char *file; /* shortened */
	uint32_t tensor;
};

struct names {
	const struct wload_inventory *inv; /* borrowed */
	struct names_long *shortened;	   /* both suffixes, sorted by file */
	uint32_t shortened_count;
};

/* Returns 0, -ENOMEM, or -EOPNOTSUPP when two names are shortened to the same file name. */
int names_build(const struct wload_inventory *inv, struct names *ret, struct wload_error *err);
void names_free(struct names *names);

/* The tensor with this file name ("" or NPY_SUFFIX behind it). Returns 0 or -ENOENT. */
int names_find(const struct names *names, const char *file, size_t len, const char *suffix,
	       uint32_t *ret_tensor);

#endif
