/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_DEVICE_H
#define WLOAD_CUDA_DEVICE_H

/* What kernels are made of. Elements that a thread takes at once are words in registers, low
 * elements first, whether they lay dense, aligned, or neither: what is made of them is written
 * once. Loops over them are of a fixed length and unrolled, so that registers they are.
 *
 * What is computed is in floats.h, which the host's executor is made of too. Instructions are taken
 * in its place where they are exact, or round the same way. */

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "loader/device/cuda_kernels.h"
#include "loader/transform/floats.h"

#define DEVICE_FN static __device__ __forceinline__

typedef void (*cuda_kernel_fn)(const struct cuda_job *jobs);

/* The kernel of jobs that are like this one, by the file that it is in. */
cuda_kernel_fn cuda_moves_kernel(const struct cuda_job *like);
cuda_kernel_fn cuda_values_kernel(const struct cuda_job *like);
cuda_kernel_fn cuda_requantise_kernel(const struct cuda_job *like);

/* Groups that a thread requantises: it pays for a table first. */
#define CUDA_THREAD_GROUPS 64

/* ---- where ------------------------------------------------------------------------------------
 */

DEVICE_FN uint32_t divided(uint32_t n, struct cuda_divisor by)
{
	return (uint32_t)((uint64_t)n * by.magic >> by.shift);
}

/* Where a unit's first element, and its scale, are; counted from the job's. */
struct place {
	uint64_t in, out, scale;
	uint32_t last; /* the unit's number in the last dimension */
};

/* Adds what the indexes of dimensions before `end` say; the last of them is fastest. */
DEVICE_FN void place_add(const struct cuda_job *job, uint32_t unit, int end, struct place *p)
{
	for (int d = end - 1; d >= 0; d--) {
		uint32_t rest = d ? divided(unit, job->size_by[d]) : 0;
		uint32_t index = unit - rest * job->size[d];

		unit = rest;
		p->in += index * job->in_stride[d];
		p->out += index * job->out_stride[d];
		if (job->scale_stride[d])
			p->scale += divided(job->phase[d] + index, job->block_by[d]) *
				    job->scale_stride[d];
	}
}

/* last_by  divides by how many units the last dimension has, `last` */
DEVICE_FN struct place place_of(const struct cuda_job *job, uint32_t unit, uint32_t last,
				struct cuda_divisor last_by)
{
	struct place p = {0, 0, 0, 0};
	uint32_t rest = divided(unit, last_by);

	p.last = unit - rest * last;
	place_add(job, rest, (int)job->dims - 1, &p);
	return p;
}

/* The unit that a thread does as its k-th. */
DEVICE_FN uint64_t unit_of(unsigned int k, unsigned int thread_units)
{
	return ((uint64_t)blockIdx.x * thread_units + k) * CUDA_BLOCK_THREADS + threadIdx.x;
}

/* ---- words of memory --------------------------------------------------------------------------
 */

template <typename T> DEVICE_FN T load(const uint8_t *at)
{
	T value;

	if ((uintptr_t)at % sizeof(T) == 0)
		return *(const T *)at;
	for (unsigned int i = 0; i < sizeof(T); i++)
		((uint8_t *)&value)[i] = at[i];
	return value;
}

template <typename T> DEVICE_FN void store(uint8_t *at, T value)
{
	if ((uintptr_t)at % sizeof(T) == 0) {
		*(T *)at = value;
		return;
	}
	for (unsigned int i = 0; i < sizeof(T); i++)
		at[i] = ((const uint8_t *)&value)[i];
}

/* BYTES that lie dense, by words of T; no more than a register each. */
template <typename T, int BYTES> DEVICE_FN void load_by(const uint8_t *at, uint32_t *words)
{
#pragma unroll
	for (int i = 0; i < BYTES; i += (int)sizeof(T)) {
		uint32_t word = ((const T *)at)[i / (int)sizeof(T)];

		words[i / 4] = i % 4 ? words[i / 4] | word << 8 * (i % 4) : word;
	}
}

template <typename T, int BYTES> DEVICE_FN void store_by(uint8_t *at, const uint32_t *words)
{
#pragma unroll
	for (int i = 0; i < BYTES; i += (int)sizeof(T))
		((T *)at)[i / (int)sizeof(T)] = (T)(words[i / 4] >> 8 * (i % 4));
}

/* The same, at once where they are aligned. */
template <int BYTES> DEVICE_FN void load_words(const uint8_t *at, uint32_t *words)
{
	if (BYTES % 16 == 0 && (uintptr_t)at % 16 == 0) {
#pragma unroll
		for (int i = 0; i < BYTES / 16; i++) {
			uint4 four = ((const uint4 *)at)[i];

			words[4 * i] = four.x;
			words[4 * i + 1] = four.y;
			words[4 * i + 2] = four.z;
			words[4 * i + 3] = four.w;
		}
	} else if (BYTES == 8 && (uintptr_t)at % 8 == 0) {
		uint2 two = *(const uint2 *)at;

		words[0] = two.x;
		words[1 % (BYTES / 4 + 1)] = two.y;
	} else if (BYTES % 4 == 0 && (uintptr_t)at % 4 == 0) {
		load_by<uint32_t, BYTES>(at, words);
	} else if ((uintptr_t)at % 2 == 0) {
		load_by<uint16_t, BYTES>(at, words);
	} else {
		load_by<uint8_t, BYTES>(at, words);
	}
}

template <int BYTES> DEVICE_FN void store_words(uint8_t *at, const uint32_t *words)
{
	if (BYTES % 16 == 0 && (uintptr_t)at % 16 == 0) {
#pragma unroll
		for (int i = 0; i < BYTES / 16; i++)
			((uint4 *)at)[i] = make_uint4(words[4 * i], words[4 * i + 1],
						      words[4 * i + 2], words[4 * i + 3]);
	} else if (BYTES == 8 && (uintptr_t)at % 8 == 0) {
		*(uint2 *)at = make_uint2(words[0], words[1 % (BYTES / 4 + 1)]);
	} else if (BYTES % 4 == 0 && (uintptr_t)at % 4 == 0) {
		store_by<uint32_t, BYTES>(at, words);
	} else if ((uintptr_t)at % 2 == 0) {
		store_by<uint16_t, BYTES>(at, words);
	} else {
		store_by<uint8_t, BYTES>(at, words);
	}
}

/* ---- elements ---------------------------------------------------------------------------------
 */

DEVICE_FN uint32_t half_at(const uint8_t *bytes, uint64_t at)
{
	uint32_t byte = bytes[at / 2];

	return at & 1 ? byte >> 4 : byte & 15;
}

DEVICE_FN uint64_t element_at(const uint8_t *at, int bits)
{
	return bits == 8    ? *at
	       : bits == 16 ? load<uint16_t>(at)
	       : bits == 32 ? load<uint32_t>(at)
			    : load<uint64_t>(at);
}

static constexpr __host__ __device__ int words_of(int bits, int n)
{
	return (bits * n + 31) / 32;
}

/* N elements of BITS, of which there are `count`; the rest are 0.
 *
 * at, stride  of the first, and to the next one, in bytes from `bytes` on; of 4-bit ones in halves
 */
template <int BITS, int N>
DEVICE_FN void load_elements(const uint8_t *bytes, uint64_t at, uint64_t stride, int count,
			     uint32_t *words)
{
	const int unit = BITS == 4 ? 1 : BITS / 8;

	if (count == N && stride == unit && (BITS > 4 || at % 2 == 0)) {
		load_words<N * BITS / 8>(bytes + (BITS == 4 ? at / 2 : at), words);
		return;
	}
#pragma unroll
	for (int i = 0; i < words_of(BITS, N); i++)
		words[i] = 0;
#pragma unroll
	for (int i = 0; i < N; i++) {
		uint64_t element;

		if (i >= count)
			continue;
		element = BITS == 4 ? half_at(bytes, at + i * stride)
				    : element_at(bytes + at + i * stride, BITS);
		words[i * BITS / 32] |= (uint32_t)element << i * BITS % 32;
		if (BITS == 64)
			words[i * BITS / 32 + (BITS == 64)] = (uint32_t)(element >> 32);
	}
}

/* The same the other way; of 8 bits or more. */
template <int BITS, int N>
DEVICE_FN void store_elements(uint8_t *at, uint64_t stride, int count, const uint32_t *words)
{
	if (count >= N && stride == BITS / 8) {
		store_words<N * BITS / 8>(at, words);
		return;
	}
#pragma unroll
	for (int i = 0; i < N; i++) {
		uint32_t word = words[i * BITS / 32] >> i * BITS % 32;

		if (i >= count)
			continue;
		if (BITS == 8)
			at[i * stride] = (uint8_t)word;
		else if (BITS == 16)
			store<uint16_t>(at + i * stride, (uint16_t)word);
		else
			store<uint32_t>(at + i * stride, word);
		if (BITS == 64)
			store<uint32_t>(at + i * stride + 4, words[i * BITS / 32 + (BITS == 64)]);
	}
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* One multiplication is faster here than a case for subnormal numbers. */
DEVICE_FN float value_f8(uint32_t bits)
{
	uint32_t rest = bits & 0x7f;
	float value = f32_from_bits(rest << 20) * 0x1p120f;

	value = f32_from_bits(f32_bits(value) | (bits & 0x80) << 24);
	return rest == 0x7f ? f32_from_bits(0x7fc00000) : value;
}

DEVICE_FN float value_e2m1(uint32_t bits)
{
	float value = f32_from_bits((bits & 7) << 22) * 0x1p126f;

	return f32_from_bits(f32_bits(value) | (bits & 8) << 28);
}

/* The largest of the F32 values that a job's parts share. */
DEVICE_FN float largest_of(const struct cuda_job *job)
{
	float largest = load<float>(job->all);

	for (uint32_t i = 1; i < job->all_count; i++) {
		float value = load<float>(job->all + i * job->all_stride);

		largest = value > largest || value != value ? value : largest;
	}
	return largest;
}

#endif
