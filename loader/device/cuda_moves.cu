/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that only go elsewhere: by themselves, by tiles, and pairs that are parted. */

#include "loader/device/cuda_tile.h"

template <typename T>
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	move(const struct cuda_job *__restrict__ jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	T values[CUDA_THREAD_UNITS];
	uint8_t *out[CUDA_THREAD_UNITS];

	/* all loads are on their way before the first is waited for */
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k, CUDA_THREAD_UNITS);
		struct place p;

		out[k] = NULL;
		if (unit >= job->units)
			continue;
		p = place_of(job, (uint32_t)unit, job->size[last], job->size_by[last]);
		out[k] = job->out + p.out + p.last * job->out_stride[last];
		values[k] = load<T>(job->in + p.in + p.last * job->in_stride[last]);
	}
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++)
		if (out[k])
			store<T>(out[k], values[k]);
}

/* ---- tiles ------------------------------------------------------------------------------------
 */

template <int WIDTH, typename WORD>
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	transpose(const struct cuda_job *__restrict__ jobs)
{
	const int each = tile_shape<WIDTH>::each, vectors = tile_shape<WIDTH>::vectors;
	const int pieces = tile_shape<WIDTH>::pieces;
	__shared__ uint4 tile[tile_shape<WIDTH>::side][tile_shape<WIDTH>::vectors];
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint64_t stride = job->in_stride[job->dims - 1];
	uint32_t words[pieces][4];
	struct tile_place t;

	if (blockIdx.x >= job->units)
		return;
	t = tile_place_of(job, blockIdx.x, tile_shape<WIDTH>::side);
#pragma unroll
	for (int k = 0; k < pieces; k++) {
		int piece = k * CUDA_BLOCK_THREADS + (int)threadIdx.x;
		int row = piece / vectors, v = piece % vectors, count = t.left_across - v * each;

		if (row < t.left_along && count > 0)
			load_elements<8 * WIDTH, each>(
				job->in,
				t.p.in + folded(&job->along, t.along + row, stride) +
					(uint64_t)(t.across + v * each) * WIDTH,
				WIDTH, min(count, each), words[k]);
	}
#pragma unroll
	for (int k = 0; k < pieces; k++) {
		int piece = k * CUDA_BLOCK_THREADS + (int)threadIdx.x;
		int row = piece / vectors, v = piece % vectors;

		tile[row][v ^ row / each % 8] =
			make_uint4(words[k][0], words[k][1], words[k][2], words[k][3]);
	}
	__syncthreads();
	write_tile<WIDTH, WORD>(job, &t, tile);
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

/* Those at even places of four words of elements (at = 0), or at odd ones. */
template <int WIDTH> DEVICE_FN void part(const uint32_t *words, int at, uint32_t *two)
{
#pragma unroll
	for (int i = 0; i < 2; i++) {
		const uint32_t *pair = &words[2 * i];

		if (WIDTH == 4)
			two[i] = pair[at];
		else if (WIDTH == 2)
			two[i] = __byte_perm(pair[0], pair[1], at ? 0x7632 : 0x5410);
		else
			two[i] = __byte_perm(pair[0], pair[1], at ? 0x7531 : 0x6420);
	}
}

/* Sixteen bytes that have a wanted one are read as a whole where they are aligned: all of them are
 * of the staging area then, which ends nowhere between. */
template <int WIDTH>
DEVICE_FN void load_pairs(const struct cuda_job *job, const uint8_t *at, int count, uint32_t *words)
{
	const int each = CUDA_PAIRS_UNIT(WIDTH);

	if (count == each && (uintptr_t)at % 16 == 0) {
		load_words<16>(at, words);
		return;
	}
#pragma unroll
	for (int i = 0; i < 4; i++)
		words[i] = 0;
#pragma unroll
	for (int i = 0; i < 2 * each; i++)
		if (i / 2 < count && job->pairs >> i % 2 & 1)
			words[i * WIDTH / 4] |= (uint32_t)element_at(at + i * WIDTH, 8 * WIDTH)
						<< 8 * (i * WIDTH % 4);
}

template <int WIDTH>
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	pairs(const struct cuda_job *__restrict__ jobs)
{
	const int each = CUDA_PAIRS_UNIT(WIDTH);
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t size = job->size[job->dims - 1], last = (size + each - 1) / each;
	uint32_t words[CUDA_THREAD_UNITS][4];
	uint8_t *out[CUDA_THREAD_UNITS];
	int count[CUDA_THREAD_UNITS];

#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k, CUDA_THREAD_UNITS);
		struct place p;

		count[k] = 0;
		if (unit >= job->units)
			continue;
		p = place_of(job, (uint32_t)unit, last, job->size_by[job->dims - 1]);
		count[k] = (int)min(size - p.last * each, (uint32_t)each);
		out[k] = job->out + p.out + p.last * (uint64_t)8;
		load_pairs<WIDTH>(job, job->in + p.in + p.last * (uint64_t)16, count[k], words[k]);
	}
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint32_t two[2];

		if (count[k] == 0)
			continue;
		if (job->pairs & 1) {
			part<WIDTH>(words[k], 0, two);
			store_elements<8 * WIDTH, each>(out[k], WIDTH, count[k], two);
		}
		if (job->pairs & 2) {
			part<WIDTH>(words[k], 1, two);
			store_elements<8 * WIDTH, each>(out[k] + job->pair_stride, WIDTH, count[k],
							two);
		}
	}
}

/* ---- which ------------------------------------------------------------------------------------
 */

static cuda_kernel_fn move_kernel(uint32_t width)
{
	switch (width) {
	case 1:
		return move<uint8_t>;
	case 2:
		return move<uint16_t>;
	case 4:
		return move<uint32_t>;
	case 8:
		return move<uint2>;
	default:
		return move<uint4>;
	}
}

static cuda_kernel_fn transpose_kernel(uint32_t width)
{
	switch (width) {
	case 1:
		return transpose<1, uint32_t>;
	case 2:
		return transpose<2, uint32_t>;
	case 4:
		return transpose<4, uint32_t>;
	default:
		return transpose<8, uint64_t>;
	}
}

cuda_kernel_fn cuda_moves_kernel(const struct cuda_job *like)
{
	if (like->kernel == CUDA_MOVE)
		return move_kernel(like->width);
	if (like->kernel == CUDA_TRANSPOSE)
		return transpose_kernel(like->width);
	return like->width == 1 ? pairs<1> : like->width == 2 ? pairs<2> : pairs<4>;
}
