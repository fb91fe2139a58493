/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels. What they compute is in floats.h, which the host's executor is made of too; here it
 * is only told to threads. Built without fused or approximate arithmetic, so that both give the
 * same bits.
 *
 * In a launch blockIdx.y is the job and blockIdx.x a run of its units; jobs with fewer units than
 * the largest leave the rest of their blocks without work. Of memory 16 bytes are taken at once
 * where they lie so; everything also works where they do not. */

#include "loader/device/cuda_kernels.h"
#include "loader/transform/floats.h"

/* ---- formats that are faster here by one multiplication than by a case for subnormal numbers ----
 */

static __device__ __forceinline__ float value_f8(uint32_t bits)
{
	uint32_t rest = bits & 0x7f;
	float value = f32_from_bits(rest << 20) * 0x1p120f;

	value = f32_from_bits(f32_bits(value) | (bits & 0x80) << 24);
	return rest == 0x7f ? f32_from_bits(0x7fc00000) : value;
}

static __device__ __forceinline__ float value_e2m1(uint32_t bits)
{
	float value = f32_from_bits((bits & 7) << 22) * 0x1p126f;

	return f32_from_bits(f32_bits(value) | (bits & 8) << 28);
}

static __device__ __forceinline__ uint32_t half_at(const uint8_t *bytes, uint64_t at)
{
	uint32_t byte = bytes[at / 2];

	return at & 1 ? byte >> 4 : byte & 15;
}

/* Of types whose elements lie at multiples of their own size all but 8-bit ones may be elsewhere:
 * staged tensors begin at multiples of 16 bytes, but a step may begin anywhere. */
template <typename T> static __device__ __forceinline__ T load(const uint8_t *at)
{
	T value;

	if ((uintptr_t)at % sizeof(T) == 0)
		return *(const T *)at;
	for (unsigned int i = 0; i < sizeof(T); i++)
		((uint8_t *)&value)[i] = at[i];
	return value;
}

template <typename T> static __device__ __forceinline__ void store(uint8_t *at, T value)
{
	if ((uintptr_t)at % sizeof(T) == 0) {
		*(T *)at = value;
		return;
	}
	for (unsigned int i = 0; i < sizeof(T); i++)
		at[i] = ((const uint8_t *)&value)[i];
}

static __device__ __forceinline__ float value_at(enum wload_dtype from, const uint8_t *at)
{
	switch (from) {
	case WLOAD_DTYPE_F32:
		return load<float>(at);
	case WLOAD_DTYPE_F64:
		return (float)load<double>(at);
	case WLOAD_DTYPE_BF16:
		return bf16_value(load<uint16_t>(at));
	case WLOAD_DTYPE_F16:
		return f16_value(load<uint16_t>(at));
	case WLOAD_DTYPE_F8_E8M0:
		return e8m0_value(*at);
	default:
		return value_f8(*at);
	}
}

/* ---- units ------------------------------------------------------------------------------------
 */

/* Where a unit's first element, and its scale, are; counted from the job's. */
struct place {
	uint64_t in, out, scale;
	uint32_t last; /* the unit's number in the last dimension */
};

/* units_last  how many units the last dimension has */
static __device__ __forceinline__ struct place place_of(const struct cuda_job *job, uint32_t unit,
							uint32_t units_last)
{
	struct place p = {0, 0, 0, 0};

	p.last = unit % units_last;
	unit /= units_last;
	for (int d = (int)job->dims - 2; d >= 0; d--) {
		uint32_t size = job->size[d];
		uint32_t index = d ? unit % size : unit;

		unit = d ? unit / size : 0;
		p.in += index * job->in_stride[d];
		p.out += index * job->out_stride[d];
		if (job->scale_stride[d])
			p.scale += (job->phase[d] + index) / job->block[d] * job->scale_stride[d];
	}
	return p;
}

/* The unit that a thread does as its k-th. */
static __device__ __forceinline__ uint64_t unit_of(unsigned int k)
{
	return ((uint64_t)blockIdx.x * CUDA_THREAD_UNITS + k) * CUDA_BLOCK_THREADS + threadIdx.x;
}

static __device__ float largest_of(const struct cuda_job *job)
{
	float largest = load<float>(job->all);

	for (uint32_t i = 1; i < job->all_count; i++) {
		float value = load<float>(job->all + i * job->all_stride);

		largest = value > largest || value != value ? value : largest;
	}
	return largest;
}

/* ---- moves ------------------------------------------------------------------------------------
 */

template <typename T> static __global__ void move(const struct cuda_job *jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;

	T values[CUDA_THREAD_UNITS];
	uint8_t *out[CUDA_THREAD_UNITS];

	/* all loads are on their way before the first is waited for */
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k);
		struct place p;

		out[k] = NULL;
		if (unit >= job->units)
			continue;
		p = place_of(job, (uint32_t)unit, job->size[last]);
		out[k] = job->out + p.out + p.last * job->out_stride[last];
		values[k] = load<T>(job->in + p.in + p.last * job->in_stride[last]);
	}
#pragma unroll
	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++)
		if (out[k])
			store<T>(out[k], values[k]);
}

/* Words of up to EACH elements, where a tile reaches past what there is or they lie askew. */
template <typename T, typename WORD>
static __device__ __forceinline__ WORD load_word(const uint8_t *at, uint32_t count)
{
	const uint32_t each = sizeof(WORD) / sizeof(T);
	WORD word = 0;

	if (count >= each && (uintptr_t)at % sizeof(WORD) == 0)
		return *(const WORD *)at;
	for (uint32_t i = 0; i < each && i < count; i++)
		word |= (WORD)load<T>(at + i * sizeof(T))
			<< (8 * sizeof(T) * i % (8 * sizeof(WORD)));
	return word;
}

template <typename T, typename WORD>
static __device__ __forceinline__ void store_word(uint8_t *at, WORD word, uint32_t count)
{
	const uint32_t each = sizeof(WORD) / sizeof(T);

	if (count >= each && (uintptr_t)at % sizeof(WORD) == 0) {
		*(WORD *)at = word;
		return;
	}
	for (uint32_t i = 0; i < each && i < count; i++)
		store<T>(at + i * sizeof(T), (T)(word >> (8 * sizeof(T) * i % (8 * sizeof(WORD)))));
}

/* A tile by shared memory. Dimension dims-2 lies dense in what is read, dims-1 in what is written.
 * A warp reads a row of 32 words, each of EACH elements; and writes such rows, each word put
 * together of one element each of EACH words that lie below each other. */
template <typename T, typename WORD> static __global__ void transpose(const struct cuda_job *jobs)
{
	const uint32_t each = sizeof(WORD) / sizeof(T), side = 32 * each;
	__shared__ WORD tile[side][33];
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t across = job->dims - 2, along = job->dims - 1;
	uint32_t tiles_along = (job->size[along] + side - 1) / side;
	uint32_t tiles_across = (job->size[across] + side - 1) / side;
	uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
	uint32_t unit = blockIdx.x, first_along, first_across, left_along, left_across;
	const uint8_t *in = job->in;
	uint8_t *out = job->out;

	if (unit >= job->units)
		return;
	first_along = unit % tiles_along * side;
	unit /= tiles_along;
	first_across = unit % tiles_across * side;
	unit /= tiles_across;
	for (int d = (int)across - 1; d >= 0; d--) {
		in += unit % job->size[d] * job->in_stride[d];
		out += unit % job->size[d] * job->out_stride[d];
		unit /= job->size[d];
	}
	left_along = min(job->size[along] - first_along, side);
	left_across = min(job->size[across] - first_across, side);
	in += first_along * job->in_stride[along] + first_across * sizeof(T);
	out += first_across * job->out_stride[across] + first_along * sizeof(T);
	for (uint32_t row = warp; row < left_along; row += warps)
		if (lane * each < left_across)
			tile[row][lane] = load_word<T, WORD>(in + row * job->in_stride[along] +
								     lane * sizeof(WORD),
							     left_across - lane * each);
	__syncthreads();
	for (uint32_t column = warp; column * each < left_across; column += warps) {
		WORD words[each];

		for (uint32_t i = 0; i < each; i++)
			words[i] = tile[lane * each + i][column];
		for (uint32_t j = 0; j < each && column * each + j < left_across; j++) {
			uint32_t shift = 8 * sizeof(T) * j % (8 * sizeof(WORD));
			WORD word = 0;

			for (uint32_t i = 0; i < each; i++)
				word |= (WORD)(T)(words[i] >> shift)
					<< (8 * sizeof(T) * i % (8 * sizeof(WORD)));
			if (lane * each < left_along)
				store_word<T, WORD>(
					out + (column * each + j) * job->out_stride[across] +
						lane * sizeof(WORD),
					word, left_along - lane * each);
		}
	}
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* Reads a unit's values: by words of 16 or 8 bytes where they lie in some. All loops are of one
 * length, and unrolled: values are in registers then. */
template <int FROM>
static __device__ __forceinline__ void read_unit(const struct cuda_job *job, uint64_t at, int count,
						 float *values)
{
	uint64_t stride = job->in_stride[job->dims - 1];

	if (FROM == WLOAD_DTYPE_F4) {
		uint64_t half = job->in_half + at;
		const uint8_t *bytes = job->in + half / 2;

		if (count == CUDA_VALUES_UNIT && stride == 1 && half % 2 == 0 &&
		    (uintptr_t)bytes % 8 == 0) {
			uint2 words = *(const uint2 *)bytes;

#pragma unroll
			for (int i = 0; i < 8; i++) {
				values[i] = value_e2m1(words.x >> 4 * i);
				values[8 + i] = value_e2m1(words.y >> 4 * i);
			}
			return;
		}
#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT; i++)
			if (i < count)
				values[i] = value_e2m1(half_at(job->in, half + i * stride));
	} else if (FROM == WLOAD_DTYPE_F8_E4M3 && count == CUDA_VALUES_UNIT && stride == 1 &&
		   (uintptr_t)(job->in + at) % 16 == 0) {
		uint4 words = *(const uint4 *)(job->in + at);

#pragma unroll
		for (int i = 0; i < 4; i++) {
			values[i] = value_f8(words.x >> 8 * i);
			values[4 + i] = value_f8(words.y >> 8 * i);
			values[8 + i] = value_f8(words.z >> 8 * i);
			values[12 + i] = value_f8(words.w >> 8 * i);
		}
	} else if ((FROM == WLOAD_DTYPE_BF16 || FROM == WLOAD_DTYPE_F16) &&
		   count == CUDA_VALUES_UNIT && stride == 2 &&
		   (uintptr_t)(job->in + at) % 16 == 0) {
		uint32_t words[CUDA_VALUES_UNIT / 2];

		*(uint4 *)words = *(const uint4 *)(job->in + at);
		*(uint4 *)(words + 4) = *(const uint4 *)(job->in + at + 16);
#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT; i++) {
			uint16_t bits = (uint16_t)(words[i / 2] >> 16 * (i % 2));

			values[i] = FROM == WLOAD_DTYPE_BF16 ? bf16_value(bits) : f16_value(bits);
		}
	} else {
#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT; i++)
			if (i < count)
				values[i] =
					value_at((enum wload_dtype)FROM, job->in + at + i * stride);
	}
}

template <int TO> static __device__ __forceinline__ uint32_t round_to(float value)
{
	return TO == WLOAD_DTYPE_F32	? f32_round(value)
	       : TO == WLOAD_DTYPE_BF16 ? bf16_round(value)
					: f16_round(value);
}

template <int TO>
static __device__ __forceinline__ void write_unit(const struct cuda_job *job, uint64_t at,
						  int count, const float *values)
{
	const uint32_t width = TO == WLOAD_DTYPE_F32 ? 4 : 2;
	uint64_t stride = job->out_stride[job->dims - 1];
	uint8_t *out = job->out + at;

	if (count == CUDA_VALUES_UNIT && stride == width && (uintptr_t)out % 16 == 0) {
		uint32_t words[CUDA_VALUES_UNIT * width / 4];

#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT * (int)width / 4; i++)
			words[i] = width == 4
					   ? round_to<TO>(values[i])
					   : round_to<TO>(values[2 * i % CUDA_VALUES_UNIT]) |
						     round_to<TO>(
							     values[(2 * i + 1) % CUDA_VALUES_UNIT])
							     << 16;
#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT * (int)width / 16; i++)
			((uint4 *)out)[i] = make_uint4(words[4 * i], words[4 * i + 1],
						       words[4 * i + 2], words[4 * i + 3]);
		return;
	}
#pragma unroll
	for (int i = 0; i < CUDA_VALUES_UNIT; i++) {
		if (i >= count)
			break;
		if (width == 4)
			store<uint32_t>(out + i * stride, round_to<TO>(values[i]));
		else
			store<uint16_t>(out + i * stride, (uint16_t)round_to<TO>(values[i]));
	}
}

static __device__ __forceinline__ float scale_at(const struct cuda_job *job, uint64_t at,
						 float scale_2)
{
	float scale = value_at(job->scale_dtype, job->scale + at);

	return job->scale_2 ? scale * scale_2 : scale;
}

/* Units of the last dimension begin at indexes that are multiples of CUDA_VALUES_UNIT, so that most
 * have one scale; the first begins `skip` before the job does. */
static __device__ __forceinline__ void multiply_unit(const struct cuda_job *job, uint64_t scale,
						     uint32_t first, int count, float *values)
{
	uint32_t last = job->dims - 1, block = job->block[last], index = job->phase[last] + first;
	float scale_2 = job->scale_2 ? load<float>(job->scale_2) : 1;

	if (job->scale_stride[last] == 0 ||
	    index / block == (index + (uint32_t)count - 1) / block) {
		float one = scale_at(job, scale + index / block * job->scale_stride[last], scale_2);

#pragma unroll
		for (int i = 0; i < CUDA_VALUES_UNIT; i++)
			values[i] *= one;
		return;
	}
#pragma unroll
	for (int i = 0; i < CUDA_VALUES_UNIT; i++)
		if (i < count)
			values[i] *=
				scale_at(job, scale + (index + i) / block * job->scale_stride[last],
					 scale_2);
}

template <int FROM, int TO> static __global__ void values_kernel(const struct cuda_job *jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	uint32_t units = (job->skip + job->size[last] + CUDA_VALUES_UNIT - 1) / CUDA_VALUES_UNIT;

	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k);
		float values[CUDA_VALUES_UNIT];
		uint32_t first, end;
		struct place p;

		if (unit >= job->units)
			return;
		p = place_of(job, (uint32_t)unit, units);
		end = min((p.last + 1) * CUDA_VALUES_UNIT - job->skip, job->size[last]);
		first = p.last ? p.last * CUDA_VALUES_UNIT - job->skip : 0;
		read_unit<FROM>(job, p.in + first * job->in_stride[last], (int)(end - first),
				values);
		if (job->scale)
			multiply_unit(job, p.scale, first, (int)(end - first), values);
		write_unit<TO>(job, p.out + first * job->out_stride[last], (int)(end - first),
			       values);
	}
}

/* ---- requantised ------------------------------------------------------------------------------
 */

static __global__ void requantise_fp8(const struct cuda_job *jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	float largest = largest_of(job);

	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k);
		struct place p;
		float scale;
		uint8_t byte;

		if (unit >= job->units)
			return;
		p = place_of(job, (uint32_t)unit, job->size[last]);
		if (job->scale_stride[last])
			p.scale += (job->phase[last] + p.last) / job->block[last] *
				   job->scale_stride[last];
		scale = load<float>(job->scale + p.scale);
		byte = job->in[p.in + p.last * job->in_stride[last]];
		if (scale != largest)
			byte = f8e4m3_round(value_f8(byte) * scale / largest);
		job->out[p.out + p.last * job->out_stride[last]] = byte;
	}
}

/* The new scale of a group of 16 whose first element is at `in`. */
static __device__ uint8_t group_scale(const uint8_t *bytes, uint64_t in, uint64_t stride, float by,
				      float largest)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < 16; i++)
		most = max(most,
			   f32_bits(value_e2m1(half_at(bytes, in + i * stride)) * by) & 0x7fffffff);
	return f8e4m3_round(f32_from_bits(most) / 6.0f / largest);
}

static __device__ uint32_t requantised(const struct cuda_job *job, uint64_t at, float by, float to)
{
	uint32_t half = half_at(job->in, at);

	return to == 0 ? 0 : e2m1_round(value_e2m1(half) * by / to);
}

/* Groups lie dense, and begin with a byte, in what is written. */
static __global__ void requantise_weight(const struct cuda_job *jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	float largest = largest_of(job), own = load<float>(job->scale_2);

	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k), in, stride = job->in_stride[last];
		struct place p;
		float by, to;

		if (unit >= job->units)
			return;
		p = place_of(job, (uint32_t)unit, job->size[last] / 16);
		in = job->in_half + p.in + 16 * p.last * stride;
		by = value_f8(job->scale[p.scale + p.last * job->scale_stride[last]]) * own;
		to = value_f8(group_scale(job->in, in, stride, by, largest)) * largest;
		for (uint32_t i = 0; i < 8; i++) {
			uint64_t at = in + 2 * i * stride;
			uint32_t low, high;

			if (own == largest) {
				low = half_at(job->in, at);
				high = half_at(job->in, at + stride);
			} else {
				low = requantised(job, at, by, to);
				high = requantised(job, at + stride, by, to);
			}
			job->out[p.out + 8 * p.last + i] = (uint8_t)(high << 4 | low);
		}
	}
}

static __global__ void requantise_scale(const struct cuda_job *jobs)
{
	const struct cuda_job *job = &jobs[blockIdx.y];
	uint32_t last = job->dims - 1;
	float largest = largest_of(job), own = load<float>(job->scale_2);

	for (unsigned int k = 0; k < CUDA_THREAD_UNITS; k++) {
		uint64_t unit = unit_of(k);
		struct place p;
		uint8_t scale;

		if (unit >= job->units)
			return;
		p = place_of(job, (uint32_t)unit, job->size[last]);
		if (job->scale_stride[last])
			p.scale += (job->phase[last] + p.last) / job->block[last] *
				   job->scale_stride[last];
		scale = job->scale[p.scale];
		if (own != largest)
			scale = group_scale(job->in,
					    job->in_half + p.in + p.last * job->in_stride[last], 1,
					    value_f8(scale) * own, largest);
		job->out[p.out + p.last * job->out_stride[last]] = scale;
	}
}

/* ---- which ------------------------------------------------------------------------------------
 */

typedef void (*kernel)(const struct cuda_job *jobs);

static kernel move_kernel(uint32_t width)
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

static kernel transpose_kernel(uint32_t width)
{
	switch (width) {
	case 1:
		return transpose<uint8_t, uint32_t>;
	case 2:
		return transpose<uint16_t, uint32_t>;
	case 4:
		return transpose<uint32_t, uint32_t>;
	default:
		return transpose<uint64_t, uint64_t>;
	}
}

template <int FROM> static kernel values_to(enum wload_dtype to)
{
	switch (to) {
	case WLOAD_DTYPE_F32:
		return values_kernel<FROM, WLOAD_DTYPE_F32>;
	case WLOAD_DTYPE_BF16:
		return values_kernel<FROM, WLOAD_DTYPE_BF16>;
	default:
		return values_kernel<FROM, WLOAD_DTYPE_F16>;
	}
}

static kernel values_from(enum wload_dtype from, enum wload_dtype to)
{
	switch (from) {
	case WLOAD_DTYPE_F32:
		return values_to<WLOAD_DTYPE_F32>(to);
	case WLOAD_DTYPE_F64:
		return values_to<WLOAD_DTYPE_F64>(to);
	case WLOAD_DTYPE_BF16:
		return values_to<WLOAD_DTYPE_BF16>(to);
	case WLOAD_DTYPE_F16:
		return values_to<WLOAD_DTYPE_F16>(to);
	case WLOAD_DTYPE_F4:
		return values_to<WLOAD_DTYPE_F4>(to);
	default:
		return values_to<WLOAD_DTYPE_F8_E4M3>(to);
	}
}

static kernel kernel_of(const struct cuda_job *like)
{
	switch (like->kernel) {
	case CUDA_MOVE:
		return move_kernel(like->width);
	case CUDA_TRANSPOSE:
		return transpose_kernel(like->width);
	case CUDA_VALUES:
		return values_from(like->from, like->to);
	case CUDA_REQUANTISE_FP8:
		return requantise_fp8;
	case CUDA_REQUANTISE_NVFP4_WEIGHT:
		return requantise_weight;
	default:
		return requantise_scale;
	}
}

const bool cuda_kernels_there = true;

cudaError_t cuda_kernels_launch(const struct cuda_job *like, const struct cuda_job *jobs,
				uint32_t count, uint32_t most_units, cudaStream_t stream)
{
	uint32_t block_units = CUDA_BLOCK_THREADS * CUDA_THREAD_UNITS;
	dim3 grid(like->kernel == CUDA_TRANSPOSE ? most_units
						 : (most_units + block_units - 1) / block_units,
		  count);
	void *arguments[] = {&jobs};

	return cudaLaunchKernel((const void *)kernel_of(like), grid, dim3(CUDA_BLOCK_THREADS),
				arguments, 0, stream);
}
