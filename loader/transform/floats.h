/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_FLOATS_H
#define WLOAD_FLOATS_H

/* Small floating-point formats, to and from IEEE 754 single precision.
 *
 *   F16     1 sign, 5 exponent, 10 mantissa bits      BF16   1, 8, 7
 *   F8_E4M3 1, 4, 3; no infinity, S.1111.111 is NaN   E8M0   2^(byte - 127), 255 is NaN
 *   E2M1    1, 2, 1; 0, 0.5, 1, 1.5, 2, 3, 4, 6       (OCP Microscaling Formats 1.0, OCP OFP8 1.0)
 *
 * The host and the GPU's kernels are compiled from the same lines. To them all operations are those
 * of the standard, rounded to nearest even. Which bits a NaN has is not the standard's to say:
 * whatever is rounded to a format gives one NaN, the positive quiet one, so that all agree. */

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/tensor.h"

/* The one place where the two compilers are told apart. */
#ifdef __CUDACC__
#define FLOATS_FN static __device__ __forceinline__
#else
#define FLOATS_FN static inline
#endif

FLOATS_FN float f32_from_bits(uint32_t bits)
{
	float value;

	__builtin_memcpy(&value, &bits, sizeof(value));
	return value;
}

FLOATS_FN uint32_t f32_bits(float value)
{
	uint32_t bits;

	__builtin_memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* Rounded to F32 itself: only NaN changes. */
FLOATS_FN uint32_t f32_round(float value)
{
	uint32_t bits = f32_bits(value);

	return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : bits;
}

FLOATS_FN float bf16_value(uint16_t bits)
{
	return f32_from_bits((uint32_t)bits << 16);
}

FLOATS_FN uint16_t bf16_round(float value)
{
	uint32_t bits = f32_bits(value);
	uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;

	return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

FLOATS_FN float f16_value(uint16_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;

	if (rest >= 0x7c00)
		return f32_from_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13);
	if (rest < 0x400) /* subnormal: rest * 2^-24, which is exact */
		return f32_from_bits(sign | f32_bits((float)rest * 5.9604644775390625e-8f));
	return f32_from_bits(sign | ((rest << 13) + (112u << 23)));
}

FLOATS_FN uint16_t f16_round(float value)
{
	uint32_t bits = f32_bits(value), rest = bits & 0x7fffffff;
	uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);

	if (rest > 0x7f800000)
		return 0x7e00;
	if (rest >= 0x47800000) /* 65536 */
		return sign | 0x7c00;
	/* Below 2^-14: 0.5 has its last bit where a subnormal has, so that adding it rounds. */
	if (rest < 0x38800000)
		return (uint16_t)(sign | (f32_bits(f32_from_bits(rest) + 0.5f) - 0x3f000000));
	return (uint16_t)(sign | (((rest + 0xfff + (rest >> 13 & 1)) >> 13) - (112u << 10)));
}

FLOATS_FN float f8e4m3_value(uint8_t bits)
{
	uint32_t sign = (uint32_t)(bits & 0x80) << 24, rest = bits & 0x7f;

	if (rest == 0x7f)
		return f32_from_bits(0x7fc00000);
	if (rest < 8) /* subnormal: rest * 2^-9 */
		return f32_from_bits(sign | f32_bits((float)rest * 0.001953125f));
	return f32_from_bits(sign | ((rest << 20) + (120u << 23)));
}

/* Saturated: what is over 448 becomes that. */
FLOATS_FN uint8_t f8e4m3_round(float value)
{
	uint32_t bits = f32_bits(value), rest = bits & 0x7fffffff;
	uint8_t sign = (uint8_t)(bits >> 24 & 0x80);

	if (rest > 0x7f800000)
		return 0x7f;
	if (rest > 0x43e00000) /* 448 */
		return sign | 0x7e;
	if (rest < 0x3c800000) /* 2^-6; as in f16_round(), with 2^14 */
		return (uint8_t)(sign | (f32_bits(f32_from_bits(rest) + 16384.0f) - 0x46800000));
	return (uint8_t)(sign | (((rest + 0x7ffff + (rest >> 20 & 1)) >> 20) - (120u << 3)));
}

FLOATS_FN float e8m0_value(uint8_t bits)
{
	if (bits == 0xff)
		return f32_from_bits(0x7fc00000);
	return f32_from_bits(bits ? (uint32_t)bits << 23 : 0x00400000);
}

FLOATS_FN float e2m1_value(uint8_t bits)
{
	uint32_t sign = (uint32_t)(bits & 8) << 28, rest = bits & 7;

	if (rest < 2) /* 0, 0.5 */
		return f32_from_bits(sign | (rest ? 0x3f000000 : 0));
	return f32_from_bits(sign | ((rest << 22) + (126u << 23)));
}

/* The nearest of them, ties to even; over 6 it is 6. NaN, which there is none of, is 0. */
FLOATS_FN uint8_t e2m1_round(float value)
{
	uint32_t bits = f32_bits(value);
	float rest = f32_from_bits(bits & 0x7fffffff);
	int code = (rest > 0.25f) + (rest >= 0.75f) + (rest > 1.25f) + (rest >= 1.75f) +
		   (rest > 2.5f) + (rest >= 3.5f) + (rest > 5.0f);

	return (uint8_t)(rest == rest ? (bits >> 28 & 8) | (uint32_t)code : 0);
}

/* Values by bits, all 256, for loops. */
extern const float f8e4m3_values[256];

/* The two E2M1 values of a byte, low half first. */
extern const float e2m1_pairs[256][2];

/* Values of a row of elements.
 *
 * from    F32, F64 (which goes by way of F32), BF16, F16, F8_E4M3, F8_E8M0; F4 is E2M1
 * at      of the first element, in 4-bit halves of bytes from `bytes` on
 * stride  from one element to the next, in these */
void floats_read(enum wload_dtype from, const uint8_t *bytes, uint64_t at, uint64_t stride,
		 size_t count, float *ret_values);

/* The same the other way, rounded; to F32, BF16, F16. */
void floats_write(enum wload_dtype to, const float *values, size_t count, uint8_t *bytes,
		  uint64_t at, uint64_t stride);

/* One value of F32, BF16, F8_E4M3 or F8_E8M0. */
float floats_value(enum wload_dtype from, const uint8_t *at);

#endif
