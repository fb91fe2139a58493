/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of 8 x 8 bytes are transposed in eight words, a row each (its first byte is the lowest):
 * quarters of the block change places across the diagonal, then quarters of these, then theirs.
 *
 *   [a b]      [a c]
 *   [c d] -->  [b d]
 *
 * What is left at the right and below goes byte by byte. */

#include <string.h>

#include "loader/transform/transpose.h"

/* The upper parts of one row change places with the lower ones of a row below it. */
static inline void exchange(uint64_t *upper, uint64_t *lower, unsigned int bits, uint64_t low)
{
	uint64_t differ = (*upper >> bits ^ *lower) & low;

	*upper ^= differ << bits;
	*lower ^= differ;
}

static inline void transpose_block(const uint8_t *in, size_t in_pitch, uint8_t *out,
				   size_t out_pitch)
{
	uint64_t row[TRANSPOSE_BLOCK];

	for (unsigned int i = 0; i < TRANSPOSE_BLOCK; i++)
		memcpy(&row[i], in + i * in_pitch, TRANSPOSE_BLOCK);
	for (unsigned int i = 0; i < 4; i++)
		exchange(&row[i], &row[i + 4], 32, UINT64_C(0x00000000ffffffff));
	for (unsigned int i = 0; i < 4; i++)
		exchange(&row[i + i / 2 * 2], &row[i + i / 2 * 2 + 2], 16,
			 UINT64_C(0x0000ffff0000ffff));
	for (unsigned int i = 0; i < TRANSPOSE_BLOCK; i += 2)
		exchange(&row[i], &row[i + 1], 8, UINT64_C(0x00ff00ff00ff00ff));
	for (unsigned int i = 0; i < TRANSPOSE_BLOCK; i++)
		memcpy(out + i * out_pitch, &row[i], TRANSPOSE_BLOCK);
}

void transpose_bytes(const uint8_t *in, size_t in_pitch, size_t rows, size_t columns, uint8_t *out,
		     size_t out_pitch)
{
	size_t whole_rows = rows - rows % TRANSPOSE_BLOCK,
	       whole_columns = columns - columns % TRANSPOSE_BLOCK;

	for (size_t i = 0; i < whole_rows; i += TRANSPOSE_BLOCK)
		for (size_t k = 0; k < whole_columns; k += TRANSPOSE_BLOCK)
			transpose_block(in + i * in_pitch + k, in_pitch, out + k * out_pitch + i,
					out_pitch);
	for (size_t i = 0; i < rows; i++)
		for (size_t k = i < whole_rows ? whole_columns : 0; k < columns; k++)
			out[k * out_pitch + i] = in[i * in_pitch + k];
}
