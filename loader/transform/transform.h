/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_TRANSFORM_H
#define WLOAD_TRANSFORM_H

/* Runs the steps of a parameter (include/wloadfs/transform.h) in host memory, all of them or those
 * that make a window of its bytes. Pure: staged bytes come from the caller. */

#include "wloadfs/plan.h"

/* Reads `rows` pieces of a parameter's staged bytes into buf, dense; piece bytes each, the first at
 * `offset`, one every `stride`. At most 1 MiB or so is asked for at once, and pieces that lie close
 * are asked for as one: bytes between that no source brings are given any value.
 *
 * Returns 0, or -errno with words. */
typedef int (*transform_reader)(void *ctx, uint64_t offset, size_t piece, size_t rows,
				uint64_t stride, uint8_t *buf, struct wload_error *err);

/* Makes bytes [lo, hi) of a parameter that has steps, reading of its staged bytes what those need.
 *
 * out  hi - lo bytes
 *
 * Returns 0, -EBADMSG when values that must be equal are not, -ENOMEM, or what `read` said. */
int transform_window(const struct wload_param *param, uint64_t lo, uint64_t hi,
		     transform_reader read, void *ctx, uint8_t *out, struct wload_error *err);

/* Makes all of it from staged bytes in memory. Returns as above. */
int transform_run(const struct wload_param *param, const uint8_t *staged, uint8_t *out,
		  struct wload_error *err);

#endif
