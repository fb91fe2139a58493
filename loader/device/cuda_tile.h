/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_TILE_H
#define WLOAD_CUDA_TILE_H

/* Transposing by tiles in shared memory. Of the last two dimensions of a job `across`, the first,
 * lies dense in what is read, `along` in what is written:
 *
 *   read: a row for each of `along`         written: a row for each of `across`
 *
 *          across -->                               along -->
 *         +---+---+---+---+                        +---+---+---+---+
 *   along | vectors of 16 |                 across | vectors of 16 |
 *     |   | bytes         |                    |   | bytes         |
 *     v   +---+---+---+---+                    v   +---+---+---+---+
 *
 * A thread reads whole vectors and lays them into the tile. Then it takes one word of each of as
 * many rows as a vector has elements, a small square of them, and writes its columns. Eight threads
 * side by side take rows of one column, so vector v of a row lies at place v ^ (row / each) % 8:
 * each of 32 threads finds its word in a bank of its own, and the vectors of a row still lie in
 * banks of their own too. */

#include "loader/device/cuda_device.h"

template <int WIDTH> struct tile_shape {
	static const int side = CUDA_TILE(WIDTH);
	static const int each = 16 / WIDTH; /* elements in a vector */
	static const int vectors = side / each;
	static const int pieces = side * vectors / CUDA_BLOCK_THREADS; /* that a thread reads */
};

/* Where a tile begins, and what there is of it. */
struct tile_place {
	struct place p;		/* of the dimensions before the last two */
	uint32_t along, across; /* the first indexes */
	int left_along, left_across;
};

DEVICE_FN struct tile_place tile_place_of(const struct cuda_job *job, uint32_t unit, int side)
{
	struct tile_place t = {{0, 0, 0, 0}, 0, 0, 0, 0};
	uint32_t rest = divided(unit, job->tiles_along_by);

	t.along = (unit - rest * job->tiles_along) * side;
	unit = rest;
	rest = divided(unit, job->tiles_across_by);
	t.across = (unit - rest * job->tiles_across) * side;
	place_add(job, rest, (int)job->dims - 2, &t.p);
	t.left_along = (int)min(job->size[job->dims - 1] - t.along, (uint32_t)side);
	t.left_across = (int)min(job->size[job->dims - 2] - t.across, (uint32_t)side);
	return t;
}

DEVICE_FN uint64_t folded(const struct cuda_fold *fold, uint32_t index, uint64_t stride)
{
	uint32_t outer = divided(index, fold->by);

	return (index - outer * fold->inner) * stride + outer * fold->outer_stride;
}

/* Words of the same place in several rows, turned into a vector of their column c. */
template <int WIDTH, typename WORD>
DEVICE_FN void column_of(const WORD *lines, int c, uint32_t *vector)
{
#pragma unroll
	for (int q = 0; q < 4; q++) {
		if (WIDTH == 1) {
			uint32_t pair = c | (4 + c) << 4;
			const WORD *four = lines + 4 * q % (16 / WIDTH);
			uint32_t low = __byte_perm((uint32_t)four[0], (uint32_t)four[1], pair);
			uint32_t high = __byte_perm((uint32_t)four[2], (uint32_t)four[3], pair);

			vector[q] = __byte_perm(low, high, 0x5410);
		} else if (WIDTH == 2) {
			const WORD *two = lines + 2 * q % (16 / WIDTH);

			vector[q] = __byte_perm((uint32_t)two[0], (uint32_t)two[1],
						c ? 0x7632 : 0x5410);
		} else if (WIDTH == 4) {
			vector[q] = (uint32_t)lines[q % (16 / WIDTH)];
		} else {
			vector[q] = (uint32_t)((uint64_t)lines[q / 2] >> 32 * (q % 2));
		}
	}
}

/* Writes a tile. */
template <int WIDTH, typename WORD>
DEVICE_FN void write_tile(const struct cuda_job *job, const struct tile_place *t,
			  const uint4 (*tile)[tile_shape<WIDTH>::vectors])
{
	const int each = tile_shape<WIDTH>::each, side = tile_shape<WIDTH>::side;
	const int words = 16 / (int)sizeof(WORD), columns = (int)sizeof(WORD) / WIDTH;
	const int chunks = side / each, tasks = chunks * side / columns;
	uint64_t stride = job->out_stride[job->dims - 2];
	uint8_t *out = job->out + t->p.out + (uint64_t)t->along * WIDTH;

#pragma unroll
	for (int k = 0; k < tasks / CUDA_BLOCK_THREADS; k++) {
		int task = k * CUDA_BLOCK_THREADS + (int)threadIdx.x;
		int word = task / 8 % words, rest = task / (8 * words);
		int chunk = rest % (chunks / 8) * 8 + task % 8, v = rest / (chunks / 8);
		WORD lines[each];

		if (chunk * each >= t->left_along)
			continue;
#pragma unroll
		for (int i = 0; i < each; i++)
			lines[i] = ((const WORD *)&tile[chunk * each + i][v ^ chunk % 8])[word];
#pragma unroll
		for (int c = 0; c < columns; c++) {
			int index = v * each + word * columns + c;
			uint32_t vector[4];

			if (index >= t->left_across)
				continue;
			column_of<WIDTH, WORD>(lines, c, vector);
			store_elements<8 * WIDTH, each>(
				out + folded(&job->across, t->across + index, stride) + chunk * 16,
				WIDTH, t->left_along - chunk * each, vector);
		}
	}
}

#endif
