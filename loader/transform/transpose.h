/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_TRANSPOSE_H
#define WLOAD_TRANSPOSE_H

/* Transposing a matrix of bytes. Pure. */

#include <stddef.h>
#include <stdint.h>

#define TRANSPOSE_BLOCK 8 /* bytes of a side; what is smaller goes byte by byte */

/* out[column][row] becomes in[row][column]; they don't overlap.
 *
 * pitch  bytes from one row to the next: of `in`, and of `out`, whose rows are columns of `in` */
void transpose_bytes(const uint8_t *in, size_t in_pitch, size_t rows, size_t columns, uint8_t *out,
		     size_t out_pitch);

#endif
