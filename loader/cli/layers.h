/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_LAYERS_H
#define WLOAD_CLI_LAYERS_H

/* A mount's .wload/layers.json (wloadfs/mount.h), understood. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

struct layer {
	char *name;
	uint64_t tensors, consumed_tensors;
	uint64_t bytes, consumed_bytes;
	uint64_t resident_bytes; /* UINT64_MAX: not known */
};

struct layers {
	struct layer *rows; /* in the order of the file */
	size_t count, cap;
};

/* Returns 0, -EBADMSG or -ENOMEM; layers_free() either way. */
int layers_parse(const char *text, size_t len, struct layers *ret_layers, struct wload_error *err);
void layers_free(struct layers *layers);

#endif
