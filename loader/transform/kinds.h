/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_KINDS_H
#define WLOAD_KINDS_H

/* What a row is, by the kind of its step: elements along one dimension. Pure. */

#include <stdbool.h>
#include <stddef.h>

#include "loader/transform/rows.h"

/* What lasts from row to row. */
struct work {
	struct rows rows;
	unsigned int width; /* halves of bytes of what is moved at once */
	unsigned int along, across;
	bool mapped;
	float map_scale;
	uint8_t map[256]; /* of each F8_E4M3, at map_scale */
	struct wload_error *err;
};

struct row {
	uint64_t in, out, scale; /* where its first element, and its scale, are */
	uint64_t in_stride, out_stride, scale_stride;
	uint64_t begin; /* index of the first element */
	uint64_t block;
	size_t count;
};

typedef int (*row_runner)(struct work *work, const struct row *row);

/* Never NULL. */
row_runner kinds_runner(enum wload_step_kind kind);

#endif
