/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_GATHER_H
#define WLOADFS_GATHER_H

/* Reads a parameter's bytes where they lie: its sources, found by bisection, each one extent of a
 * tensor or many short ones at a stride (plan.h). Pure: bytes of tensors come from the caller. */

#include <stddef.h>

#include "wloadfs/plan.h"

/* Reads len bytes of a tensor at offset. Returns 0 or -errno. */
typedef int (*gather_reader)(void *ctx, uint32_t tensor, uint64_t offset, size_t len, uint8_t *buf);

/* Told of len bytes of a tensor that are about to be read, with others far from them. */
typedef void (*gather_hint)(void *ctx, uint32_t tensor, uint64_t offset, size_t len);

struct gather {
	const struct wload_param *param;
	gather_reader read;
	void *ctx;
	gather_hint hint; /* or NULL */
};

/* Reads len bytes at `offset` of what the sources fill: the parameter, or, where it has steps, its
 * staging area. What no source fills is zeros.
 *
 * Returns 0, -ENOMEM, or what the reader said. */
int gather_read(const struct gather *gather, uint64_t offset, size_t len, uint8_t *buf);

/* Reads `rows` pieces of it into buf, dense: a transform_reader, whose ctx is the gather. */
int gather_rows(void *gather, uint64_t offset, size_t piece, size_t rows, uint64_t stride,
		uint8_t *buf, struct wload_error *err);

/* Told of bytes [lo, hi) of a tensor. */
typedef void (*gather_visit)(void *ctx, uint32_t tensor, uint64_t lo, uint64_t hi);

/* Tells which bytes of which tensors [offset, offset + len) is made of: of a strided source from
 * the first of them to the last. Of a parameter with steps all of its sources. */
void gather_touched(const struct wload_param *param, uint64_t offset, uint64_t len,
		    gather_visit visit, void *ctx);

#endif
