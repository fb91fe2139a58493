/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights that get another scale. Of few values each becomes one that depends on scales
 * alone: blocks of threads begin with a table of them all, which is computed as the host's executor
 * does it, and then only look up. */

#include "loader/device/cuda_device.h"

#define GROUP 16 /* elements that share a scale of NVFP4 */
#define LANES 32

/* ---- FP8 --------------------------------------------------------------------------------------
 */

/* What each byte becomes. Four of them are a word, and of each word there are as many copies as
 * there are banks, one in each, so that no thread waits for another. */
struct byte_map {
	uint32_t words[64][LANES];
};

DEVICE_FN uint8_t requantised_byte(uint32_t byte, float scale, float largest)
{
	return scale == largest ? (uint8_t)byte : f8e4m3_round(value_f8(byte) * scale / largest);
}

DEVICE_FN void make_map(float scale, float largest, struct byte_map *map)
{
	__shared__ uint8_t bytes[256];

	bytes[threadIdx.x] = requantised_byte(threadIdx.x, scale, largest);
	__syncthreads();
	for (uint32_t i = threadIdx.x; i < 64 * LANES; i += CUDA_BLOCK_THREADS) {
		const uint8_t *four = &bytes[i / LANES * 4];

		map->words[i / LANES][i % LANES] = four[0] | (uint32_t)four[1] << 8 |
						   (uint32_t)four[2] << 16 |
						   (uint32_t)four[3] << 24;
	}
	__syncthreads();
}

DEVICE_FN uint32_t look_up(const struct byte_map *map, uint32_t word)
{
	const uint8_t *lane = (const uint8_t *)map + threadIdx.x % LANES * 4;
	uint32_t to = 0;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		uint32_t byte = word >> 8 * i & 0xff;

		to |= (uint32_t)lane[byte / 4 * (4 * LANES) + byte % 4] << 8 * i;
	}
	return to;
}

/* All of a job have one scale. */
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	requantise_fp8(const struct cuda_job *__restrict__ jobs)
{
	const int n = CUDA_BYTES_UNIT;
	__shared__ struct byte_map map;
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1, size = job->size[last], units = (size + n - 1) / n;
	uint32_t words[CUDA_THREAD_UNITS][4];
	uint64_t out[CUDA_THREAD_UNITS];
	int count[CUDA_THREAD_UNITS];

	if (unit_of(0, CUDA_THREAD_UNITS) - threadIdx.x >= job->units)
		return; /* all of the block */
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k, CUDA_THREAD_UNITS);
		struct place p;

		count[k] = 0;
		if (unit >= job->units)
			continue;
		p = place_of(job, (uint32_t)unit, units, job->size_by[last]);
		count[k] = (int)min(size - p.last * n, (uint32_t)n);
		out[k] = p.out + (uint64_t)p.last * n * job->out_stride[last];
		load_elements<8, n>(job->in, p.in + (uint64_t)p.last * n * job->in_stride[last],
				    job->in_stride[last], count[k], words[k]);
	}
	make_map(load<float>(job->scale), largest_of(job), &map);
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		if (count[k] == 0)
			continue;
#pragma unroll
		for (int i = 0; i < 4; i++)
			words[k][i] = look_up(&map, words[k][i]);
		store_elements<8, n>(job->out + out[k], job->out_stride[last], count[k], words[k]);
	}
}

/* They have several. */
static __global__ void requantise_each(const struct cuda_job *__restrict__ jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	float largest = largest_of(job);

	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k, CUDA_THREAD_UNITS);
		struct place p;

		if (unit >= job->units)
			return;
		p = place_of(job, (uint32_t)unit, job->size[last], job->size_by[last]);
		p.scale += divided(job->phase[last] + p.last, job->block_by[last]) *
			   job->scale_stride[last];
		job->out[p.out + p.last * job->out_stride[last]] =
			requantised_byte(job->in[p.in + p.last * job->in_stride[last]],
					 load<float>(job->scale + p.scale), largest);
	}
}

/* ---- NVFP4: a group ---------------------------------------------------------------------------
 */

/* The largest of 16 sizes (the low 3 bits of halves; they are ordered as their values are), bit by
 * bit from the highest: of those that are left some have it, or none. */
DEVICE_FN uint32_t largest_size(const uint32_t *words)
{
	uint32_t size = 0, left[2] = {0x11111111, 0x11111111};

#pragma unroll
	for (int bit = 2; bit >= 0; bit--) {
		uint32_t have[2] = {words[0] >> bit & left[0], words[1] >> bit & left[1]};

		if (have[0] | have[1]) {
			size |= 1u << bit;
			left[0] = have[0];
			left[1] = have[1];
		}
	}
	return size;
}

DEVICE_FN bool has_zero(const uint32_t *words)
{
	uint32_t first = (words[0] & 0x77777777) + 0x77777777;
	uint32_t second = (words[1] & 0x77777777) + 0x77777777;

	return (first & second & 0x88888888) != 0x88888888;
}

/* The new scale, where the largest value is of `size` and `by` is what all are multiplied by. What
 * is rounded keeps its order, so that the largest one's product is the largest product; an infinite
 * `by` makes NaN of zeros, which is larger than all (group_scale() in loader/transform/kinds.c). */
DEVICE_FN uint8_t new_scale(uint32_t size, float by, float largest)
{
	uint32_t most = f32_bits(value_e2m1(size) * by) & 0x7fffffff;

	return f8e4m3_round(f32_from_bits(most) / 6.0f / largest);
}

DEVICE_FN bool infinite(float value)
{
	return (f32_bits(value) & 0x7fffffff) == 0x7f800000;
}

DEVICE_FN uint8_t group_scale(const uint32_t *words, float by, float largest)
{
	if (infinite(by) && has_zero(words))
		return 0x7f;
	return new_scale(largest_size(words), by, largest);
}

/* ---- NVFP4: elements --------------------------------------------------------------------------
 */

/* What halves of each size become, by the scale (its sign apart) and the group's largest size. A
 * byte of it is for a half without sign; its high half is what a sign changes: 8, or nothing where
 * the result is the only 0, as of NaN. */
struct half_map {
	uint2 sizes[128][8];
};

DEVICE_FN uint32_t requantised_half(uint32_t half, float by, float to)
{
	float value = value_e2m1(half) * by / to;

	if (to == 0 || value != value)
		return 0;
	return e2m1_round(value) | 0x80;
}

DEVICE_FN uint2 requantised_sizes(uint32_t scale, uint32_t size, float own, float largest)
{
	float by = value_f8(scale) * own, to = value_f8(new_scale(size, by, largest)) * largest;
	uint32_t words[2] = {0, 0};

#pragma unroll
	for (uint32_t half = 0; half < 8; half++)
		if (half <= size)
			words[half / 4] |= requantised_half(half, by, to) << 8 * (half % 4);
	return make_uint2(words[0], words[1]);
}

/* Eight halves, by a map of sizes. */
DEVICE_FN uint32_t look_up_halves(uint2 sizes, uint32_t word, uint32_t signs)
{
	uint32_t low = __byte_perm(sizes.x, sizes.y, word & 0x7777);
	uint32_t high = __byte_perm(sizes.x, sizes.y, word >> 16 & 0x7777);
	uint32_t to, change;

	/* of pairs of bytes their low halves, beside each other, and the high ones */
	to = __byte_perm((low & 0x0f0f0f0f) | (low & 0x0f0f0f0f) >> 4,
			 (high & 0x0f0f0f0f) | (high & 0x0f0f0f0f) >> 4, 0x6420);
	low = low >> 4 & 0x0f0f0f0f;
	high = high >> 4 & 0x0f0f0f0f;
	change = __byte_perm(low | low >> 4, high | high >> 4, 0x6420);
	return to ^ (change & (word ^ signs));
}

/* A group whose `by` may be infinite, for which there is no map: by itself. */
static __device__ __noinline__ void requantise_wild(uint32_t *words, float by, float largest)
{
	float to = value_f8(group_scale(words, by, largest)) * largest;

	for (int w = 0; w < 2; w++) {
		uint32_t word = 0;

		for (int i = 0; i < 8; i++) {
			float value = value_e2m1(words[w] >> 4 * i) * by / to;

			word |= (to == 0 ? 0u : e2m1_round(value)) << 4 * i;
		}
		words[w] = word;
	}
}

/* How a job's groups are done. */
struct group_rule {
	float own, largest;
	bool stays, wild; /* bytes stay as they are; products of scales may be infinite */
};

DEVICE_FN struct group_rule group_rule_of(const struct cuda_job *job)
{
	struct group_rule rule = {load<float>(job->scale_2), largest_of(job), false, false};

	rule.stays = rule.own == rule.largest;
	rule.wild = infinite(rule.own * 448.0f);
	return rule;
}

DEVICE_FN void requantise_group(const struct group_rule *rule, const struct half_map *map,
				uint32_t scale, uint32_t *words)
{
	uint32_t signs = scale & 0x80 ? 0x88888888 : 0;
	uint2 sizes;

	if (rule->stays)
		return;
	if (rule->wild) {
		requantise_wild(words, value_f8(scale) * rule->own, rule->largest);
		return;
	}
	sizes = map->sizes[scale & 0x7f][largest_size(words)];
	words[0] = look_up_halves(sizes, words[0], signs);
	words[1] = look_up_halves(sizes, words[1], signs);
}

/* Groups lie dense, and begin with a byte, in what is written. */
static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	requantise_weight(const struct cuda_job *__restrict__ jobs)
{
	__shared__ struct half_map map;
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1, groups = job->size[last] / GROUP;
	uint64_t begin = unit_of(0, CUDA_THREAD_GROUPS), stride = job->in_stride[last];
	struct group_rule rule;

	if (begin - threadIdx.x >= job->units)
		return; /* all of the block */
	rule = group_rule_of(job);
	for (uint32_t i = threadIdx.x; !rule.stays && i < 128 * 8; i += CUDA_BLOCK_THREADS)
		map.sizes[i / 8][i % 8] = requantised_sizes(i / 8, i % 8, rule.own, rule.largest);
	__syncthreads();
	for (unsigned int done = 0; done < CUDA_THREAD_GROUPS; done += CUDA_THREAD_UNITS) {
		uint32_t words[CUDA_THREAD_UNITS][2], scale[CUDA_THREAD_UNITS];
		uint8_t *out[CUDA_THREAD_UNITS];

#pragma unroll
		for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
			uint64_t unit = begin + (uint64_t)(done + k) * CUDA_BLOCK_THREADS;
			struct place p;

			out[k] = NULL;
			if (unit >= job->units)
				continue;
			p = place_of(job, (uint32_t)unit, groups, job->size_by[last]);
			out[k] = job->out + p.out + p.last * (uint64_t)(GROUP / 2);
			load_elements<4, GROUP>(job->in,
						job->in_half + p.in + GROUP * p.last * stride,
						stride, GROUP, words[k]);
			scale[k] = job->scale[p.scale + p.last * job->scale_stride[last]];
		}
#pragma unroll
		for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
			if (!out[k])
				continue;
			requantise_group(&rule, &map, scale[k], words[k]);
			store_words<GROUP / 2>(out[k], words[k]);
		}
	}
}

/* ---- NVFP4: scales ----------------------------------------------------------------------------
 */

static __global__ void __launch_bounds__(CUDA_BLOCK_THREADS)
	requantise_scale(const struct cuda_job *__restrict__ jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	struct group_rule rule = group_rule_of(job);
	uint32_t words[CUDA_THREAD_UNITS][2], scale[CUDA_THREAD_UNITS];
	uint8_t *out[CUDA_THREAD_UNITS];

#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k, CUDA_THREAD_UNITS);
		struct place p;

		out[k] = NULL;
		if (unit >= job->units)
			continue;
		p = place_of(job, (uint32_t)unit, job->size[last], job->size_by[last]);
		p.scale += divided(job->phase[last] + p.last, job->block_by[last]) *
			   job->scale_stride[last];
		out[k] = job->out + p.out + p.last * job->out_stride[last];
		load_elements<4, GROUP>(job->in,
					job->in_half + p.in + p.last * job->in_stride[last], 1,
					GROUP, words[k]);
		scale[k] = job->scale[p.scale];
	}
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++)
		if (out[k])
			*out[k] = rule.stays ? (uint8_t)scale[k]
					     : group_scale(words[k], value_f8(scale[k]) * rule.own,
							   rule.largest);
}

cuda_kernel_fn cuda_requantise_kernel(const struct cuda_job *like)
{
	switch (like->kernel) {
	case CUDA_REQUANTISE_FP8:
		return requantise_fp8;
	case CUDA_REQUANTISE_EACH:
		return requantise_each;
	case CUDA_REQUANTISE_NVFP4_WEIGHT:
		return requantise_weight;
	default:
		return requantise_scale;
	}
}
