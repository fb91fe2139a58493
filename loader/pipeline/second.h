/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SECOND_H
#define WLOAD_SECOND_H

/* The staged bytes of a parameter once more, by the second path (verify.h): what its steps make of
 * them is what it should be. Belongs to one thread. */

#include "loader/pipeline/verify.h"
#include "wloadfs/plan.h"

/* Room for pieces of a tensor with what lies between them. */
#define SECOND_SCRATCH_BYTES ((size_t)1 << 20)

struct second {
	struct verify *verify;
	const struct wload_param *param;
	uint8_t *scratch; /* SECOND_SCRATCH_BYTES; borrowed */
};

/* A transform_reader (loader/transform/transform.h); ctx is the struct second. Bytes that no source
 * brings are zero. Returns 0 or what verify_read() said. */
int second_read(void *ctx, uint64_t offset, size_t piece, size_t rows, uint64_t stride,
		uint8_t *buf, struct wload_error *err);

#endif
