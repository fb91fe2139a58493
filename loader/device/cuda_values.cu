/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: read, multiplied by their scales, rounded; rows as they are, or by tiles. Built without
 * fused or approximate arithmetic, so that bits are the host's. */

#include "loader/device/cuda_tile.h"

/* Values of as many rounded ones as 16 bytes are. */
#define TILE_EACH(to) ((to) == WLOAD_DTYPE_F32 ? 4 : 8)

static constexpr __host__ __device__ int bits_of(int dtype)
{
	return dtype == WLOAD_DTYPE_F4				       ? 4
	       : dtype == WLOAD_DTYPE_F8_E4M3			       ? 8
	       : dtype == WLOAD_DTYPE_BF16 || dtype == WLOAD_DTYPE_F16 ? 16
	       : dtype == WLOAD_DTYPE_F32			       ? 32
								       : 64;
}

/* Values of two that are in the low half of a word; all are exact, and of NaN some NaN. */
DEVICE_FN float2 values_f8(uint32_t word)
{
	return __half22float2(__half2(
		__nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(word & 0xffff), __NV_E4M3)));
}

DEVICE_FN float value_f16(uint32_t bits)
{
	return __half2float(__ushort_as_half((unsigned short)bits));
}

DEVICE_FN float value_f64(uint32_t low, uint32_t high)
{
	return (float)__longlong_as_double((long long)((uint64_t)high << 32 | low));
}

template <int FROM, int N> DEVICE_FN void values_of(const uint32_t *words, float *values)
{
	const int bits = bits_of(FROM);

#pragma unroll
	for (int i = 0; i < N; i++) {
		uint32_t word = words[i * bits / 32] >> i * bits % 32;

		if (FROM == WLOAD_DTYPE_F4)
			values[i] = value_e2m1(word);
		else if (FROM == WLOAD_DTYPE_F8_E4M3)
			values[i] = i % 2 ? values_f8(word << 8).y : values_f8(word).x;
		else if (FROM == WLOAD_DTYPE_BF16)
			values[i] = bf16_value((uint16_t)word);
		else if (FROM == WLOAD_DTYPE_F16)
			values[i] = value_f16(word & 0xffff);
		else if (FROM == WLOAD_DTYPE_F32)
			values[i] = f32_from_bits(word);
		else
			values[i] = value_f64(word, words[i * bits / 32 + (bits == 64)]);
	}
}

template <int TO> DEVICE_FN uint32_t round_to(float value)
{
	return TO == WLOAD_DTYPE_F32	? f32_round(value)
	       : TO == WLOAD_DTYPE_BF16 ? bf16_round(value)
					: f16_round(value);
}

/* Two, rounded to nearest even as round_to() does; but of NaN another one comes of it. */
template <int TO> DEVICE_FN uint32_t round_two(float low, float high)
{
	uint32_t word;

	if (TO == WLOAD_DTYPE_BF16) {
		__nv_bfloat162 two = __floats2bfloat162_rn(low, high);

		__builtin_memcpy(&word, &two, sizeof(word));
	} else {
		__half2 two = __floats2half2_rn(low, high);

		__builtin_memcpy(&word, &two, sizeof(word));
	}
	return word;
}

/* Whether one is NaN or infinite. */
template <int N> DEVICE_FN bool unbounded(const float *values)
{
	float none = 0;

#pragma unroll
	for (int i = 0; i < N; i++)
		none = __fmaf_rn(values[i], 0.0f, none);
	return none != none;
}

template <int TO, int N> DEVICE_FN void round_values(const float *values, uint32_t *words)
{
	if (TO == WLOAD_DTYPE_F32) {
#pragma unroll
		for (int i = 0; i < N; i++)
			words[i] = f32_round(values[i]);
	} else if (unbounded<N>(values)) {
#pragma unroll
		for (int i = 0; i < N / 2; i++)
			words[i] = round_to<TO>(values[2 * i]) | round_to<TO>(values[2 * i + 1])
									 << 16;
	} else {
#pragma unroll
		for (int i = 0; i < N / 2; i++)
			words[i] = round_two<TO>(values[2 * i], values[2 * i + 1]);
	}
}

/* ---- scales -----------------------------------------------------------------------------------
 */

DEVICE_FN float scale_value(enum wload_dtype dtype, const uint8_t *at)
{
	switch (dtype) {
	case WLOAD_DTYPE_F32:
		return load<float>(at);
	case WLOAD_DTYPE_BF16:
		return bf16_value(load<uint16_t>(at));
	case WLOAD_DTYPE_F8_E8M0:
		return e8m0_value(*at);
	default:
		return value_f8(*at);
	}
}

/* The scales of some neighbours in dimension d: that of the first, and whether all have it. */
struct scales {
	uint64_t at;	/* of the first element's block, were its index 0 */
	uint32_t index; /* of the first */
	float first;
	bool one;
};

DEVICE_FN float scale_of(const struct cuda_job *job, uint32_t d, const struct scales *s, uint32_t i)
{
	uint32_t block = divided(s->index + i, job->block_by[d]);
	float scale =
		scale_value(job->scale_dtype, job->scale + s->at + block * job->scale_stride[d]);

	return job->scale_2 ? scale * load<float>(job->scale_2) : scale;
}

DEVICE_FN struct scales scales_of(const struct cuda_job *job, uint32_t d, uint64_t at,
				  uint32_t index, int count)
{
	struct scales s = {at, job->phase[d] + index, 1, true};

	if (!job->scale)
		return s;
	s.first = scale_of(job, d, &s, 0);
	s.one = job->scale_stride[d] == 0 ||
		divided(s.index, job->block_by[d]) ==
			divided(s.index + (uint32_t)count - 1, job->block_by[d]);
	return s;
}

template <int N>
DEVICE_FN void multiply(const struct cuda_job *job, uint32_t d, const struct scales *s, int count,
			float *values)
{
	if (!job->scale)
		return;
#pragma unroll
	for (int i = 0; i < N; i++)
		if (i < count)
			values[i] *= s->one ? s->first : scale_of(job, d, s, (uint32_t)i);
}

/* ---- rows -------------------------------------------------------------------------------------
 */

/* Units of the last dimension begin at indexes that are multiples of CUDA_VALUES_UNIT, so that most
 * have one scale; the first begins `skip` before the job does. A thread does one: with two or four
 * of them there are fewer threads at once, and what it takes is measured to be longer. */
template <int FROM, int TO>
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	values_rows(const struct cuda_job *__restrict__ jobs)
{
	const int n = CUDA_VALUES_UNIT;
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1, size = job->size[last], skip = job->skip;
	uint32_t units = (skip + size + n - 1) / n, first;
	uint32_t words[words_of(bits_of(FROM), n)], rounded[words_of(bits_of(TO), n)];
	uint64_t unit = unit_of(0, 1);
	struct scales scales;
	struct place p;
	float values[n];
	int count;

	if (unit >= job->units)
		return;
	p = place_of(job, (uint32_t)unit, units, job->size_by[last]);
	first = p.last ? p.last * n - skip : 0;
	count = (int)(min((p.last + 1) * n - skip, size) - first);
	load_elements<bits_of(FROM), n>(job->in, p.in + first * job->in_stride[last] + job->in_half,
					job->in_stride[last], count, words);
	scales = scales_of(job, last, p.scale, first, count);
	values_of<FROM, n>(words, values);
	multiply<n>(job, last, &scales, count, values);
	round_values<TO, n>(values, rounded);
	store_elements<bits_of(TO), n>(job->out + p.out + first * job->out_stride[last],
				       job->out_stride[last], count, rounded);
}

/* ---- tiles ------------------------------------------------------------------------------------
 */

/* Where the elements of a row of a tile, and its scale, are, from index `across` on. */
struct tile_row {
	uint64_t in, scale;
};

DEVICE_FN struct tile_row tile_row_of(const struct cuda_job *job, const struct tile_place *t,
				      uint32_t row, uint32_t across)
{
	uint32_t along = job->dims - 1;
	struct tile_row r = {t->p.in + job->in_half, t->p.scale};

	r.in += folded(&job->along, t->along + row, job->in_stride[along]) +
		across * job->in_stride[along - 1];
	if (job->scale_stride[along])
		r.scale += divided(job->phase[along] + t->along + row, job->block_by[along]) *
			   job->scale_stride[along];
	return r;
}

template <int FROM, int TO>
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	values_tile(const struct cuda_job *__restrict__ jobs)
{
	const int width = bits_of(TO) / 8, each = tile_shape<width>::each;
	const int vectors = tile_shape<width>::vectors, pieces = tile_shape<width>::pieces;
	__shared__ uint4 tile[tile_shape<width>::side][tile_shape<width>::vectors];
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t words[pieces][words_of(bits_of(FROM), each)], d = job->dims - 2;
	struct scales scales[pieces];
	int count[pieces];
	struct tile_place t;

	if (blockIdx.x >= job->units)
		return;
	t = tile_place_of(job, blockIdx.x, tile_shape<width>::side);
#pragma unroll
	for (int k = 0; k < pieces; k++) {
		int piece = k * CUDA_BLOCK_THREADS + (int)threadIdx.x;
		int row = piece / vectors, v = piece % vectors;
		uint32_t across = t.across + v * each;
		struct tile_row r;

		count[k] = row < t.left_along ? min(t.left_across - v * each, each) : 0;
		if (count[k] <= 0)
			continue;
		r = tile_row_of(job, &t, row, across);
		load_elements<bits_of(FROM), each>(job->in, r.in, job->in_stride[d], count[k],
						   words[k]);
		scales[k] = scales_of(job, d, r.scale, across, count[k]);
	}
#pragma unroll
	for (int k = 0; k < pieces; k++) {
		int piece = k * CUDA_BLOCK_THREADS + (int)threadIdx.x;
		int row = piece / vectors, v = piece % vectors;
		uint32_t vector[4];
		float values[each];

		if (count[k] <= 0)
			continue;
		values_of<FROM, each>(words[k], values);
		multiply<each>(job, d, &scales[k], count[k], values);
		round_values<TO, each>(values, vector);
		tile[row][v ^ row / each % 8] =
			make_uint4(vector[0], vector[1], vector[2], vector[3]);
	}
	__syncthreads();
	write_tile<width, uint32_t>(job, &t, tile);
}

/* ---- which ------------------------------------------------------------------------------------
 */

template <int FROM, int TO> static cuda_kernel_fn values_kernel(bool tiled)
{
	return tiled ? values_tile<FROM, TO> : values_rows<FROM, TO>;
}

template <int FROM> static cuda_kernel_fn values_to(const struct cuda_job *like)
{
	bool tiled = like->kernel == CUDA_VALUES_TILE;

	switch (like->to) {
	case WLOAD_DTYPE_F32:
		return values_kernel<FROM, WLOAD_DTYPE_F32>(tiled);
	case WLOAD_DTYPE_BF16:
		return values_kernel<FROM, WLOAD_DTYPE_BF16>(tiled);
	default:
		return values_kernel<FROM, WLOAD_DTYPE_F16>(tiled);
	}
}

cuda_kernel_fn cuda_values_kernel(const struct cuda_job *like)
{
	switch (like->from) {
	case WLOAD_DTYPE_F32:
		return values_to<WLOAD_DTYPE_F32>(like);
	case WLOAD_DTYPE_F64:
		return values_to<WLOAD_DTYPE_F64>(like);
	case WLOAD_DTYPE_BF16:
		return values_to<WLOAD_DTYPE_BF16>(like);
	case WLOAD_DTYPE_F16:
		return values_to<WLOAD_DTYPE_F16>(like);
	case WLOAD_DTYPE_F4:
		return values_to<WLOAD_DTYPE_F4>(like);
	default:
		return values_to<WLOAD_DTYPE_F8_E4M3>(like);
	}
}
