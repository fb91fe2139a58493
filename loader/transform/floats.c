/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of values. Each pair of a loop and a format is one of a few lines, for the compiler to turn
 * into vectors where elements are dense; formats of a byte or less go by table. */

#include <assert.h>
#include <string.h>

#include "loader/transform/floats.h"

/* (8 + mantissa) * 2^(exponent - 1), or the mantissa alone where the exponent is 0, of 2^-9 */
#define F8_EXPONENT(x) ((x) >> 3 & 15)
#define F8_NORMAL(x)   (F8_EXPONENT(x) > 0)
#define F8_SIZE(x) \
	((float)((8 * F8_NORMAL(x) + ((x)&7)) << (F8_EXPONENT(x) - F8_NORMAL(x))) / 512.0f)
#define F8_ONE(x) (((x)&127) == 127 ? __builtin_nanf("") : (x) < 128 ? F8_SIZE(x) : -F8_SIZE(x))
#define F8_4(x)	  F8_ONE(x), F8_ONE((x) + 1), F8_ONE((x) + 2), F8_ONE((x) + 3)
#define F8_16(x)  F8_4(x), F8_4((x) + 4), F8_4((x) + 8), F8_4((x) + 12)
#define F8_64(x)  F8_16(x), F8_16((x) + 16), F8_16((x) + 32), F8_16((x) + 48)

const float f8e4m3_values[256] = {F8_64(0), F8_64(64), F8_64(128), F8_64(192)};

/* clang-format off */
#define E2M1_ROW(high) \
	{0.0f, high}, {0.5f, high}, {1.0f, high}, {1.5f, high}, \
	{2.0f, high}, {3.0f, high}, {4.0f, high}, {6.0f, high}, \
	{-0.0f, high}, {-0.5f, high}, {-1.0f, high}, {-1.5f, high}, \
	{-2.0f, high}, {-3.0f, high}, {-4.0f, high}, {-6.0f, high}

const float e2m1_pairs[256][2] = {
	E2M1_ROW(0.0f), E2M1_ROW(0.5f), E2M1_ROW(1.0f), E2M1_ROW(1.5f),
	E2M1_ROW(2.0f), E2M1_ROW(3.0f), E2M1_ROW(4.0f), E2M1_ROW(6.0f),
	E2M1_ROW(-0.0f), E2M1_ROW(-0.5f), E2M1_ROW(-1.0f), E2M1_ROW(-1.5f),
	E2M1_ROW(-2.0f), E2M1_ROW(-3.0f), E2M1_ROW(-4.0f), E2M1_ROW(-6.0f),
};
/* clang-format on */

static uint16_t bits16(const uint8_t *at)
{
	uint16_t bits;

	memcpy(&bits, at, sizeof(bits));
	return bits;
}

static float value_f32(const uint8_t *at)
{
	float value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static float value_f64(const uint8_t *at)
{
	double value;

	memcpy(&value, at, sizeof(value));
	return (float)value;
}

static float value_bf16(const uint8_t *at)
{
	return bf16_value(bits16(at));
}

static float value_f16(const uint8_t *at)
{
	return f16_value(bits16(at));
}

static float value_f8(const uint8_t *at)
{
	return f8e4m3_values[*at];
}

static float value_e8m0(const uint8_t *at)
{
	return e8m0_value(*at);
}

/* One loop a format, twice: dense, where the stride is a constant, and not. */
#define READ_ROW(format, width)                                                                 \
	static void read_##format(const uint8_t *at, uint64_t stride, size_t count, float *ret) \
	{                                                                                       \
		if (stride == (width))                                                          \
			for (size_t i = 0; i < count; i++)                                      \
				ret[i] = value_##format(at + i * (width));                      \
		else                                                                            \
			for (size_t i = 0; i < count; i++)                                      \
				ret[i] = value_##format(at + i * stride);                       \
	}

READ_ROW(f32, 4)
READ_ROW(f64, 8)
READ_ROW(bf16, 2)
READ_ROW(f16, 2)
READ_ROW(f8, 1)
READ_ROW(e8m0, 1)

static void read_e2m1(const uint8_t *bytes, uint64_t at, uint64_t stride, size_t count, float *ret)
{
	size_t i = 0;

	if (stride == 1) {
		if (count && at & 1)
			ret[i++] = e2m1_pairs[bytes[at / 2]][1];
		for (; i + 2 <= count; i += 2)
			memcpy(ret + i, e2m1_pairs[bytes[(at + i) / 2]], 2 * sizeof(float));
	}
	for (; i < count; i++)
		ret[i] = e2m1_pairs[bytes[(at + i * stride) / 2]][(at + i * stride) & 1];
}

void floats_read(enum wload_dtype from, const uint8_t *bytes, uint64_t at, uint64_t stride,
		 size_t count, float *ret_values)
{
	const uint8_t *first = bytes + at / 2;

	if (from == WLOAD_DTYPE_F4)
		read_e2m1(bytes, at, stride, count, ret_values);
	else if (from == WLOAD_DTYPE_F32)
		read_f32(first, stride / 2, count, ret_values);
	else if (from == WLOAD_DTYPE_F64)
		read_f64(first, stride / 2, count, ret_values);
	else if (from == WLOAD_DTYPE_BF16)
		read_bf16(first, stride / 2, count, ret_values);
	else if (from == WLOAD_DTYPE_F16)
		read_f16(first, stride / 2, count, ret_values);
	else if (from == WLOAD_DTYPE_F8_E8M0)
		read_e8m0(first, stride / 2, count, ret_values);
	else
		read_f8(first, stride / 2, count, ret_values);
}

#define WRITE_ROW(format, type)                                                     \
	static void write_##format(const float *values, size_t count, uint8_t *at,  \
				   uint64_t stride)                                 \
	{                                                                           \
		if (stride == sizeof(type)) {                                       \
			for (size_t i = 0; i < count; i++) {                        \
				type bits = format##_round(values[i]);              \
				memcpy(at + i * sizeof(type), &bits, sizeof(type)); \
			}                                                           \
			return;                                                     \
		}                                                                   \
		for (size_t i = 0; i < count; i++) {                                \
			type bits = format##_round(values[i]);                      \
			memcpy(at + i * stride, &bits, sizeof(type));               \
		}                                                                   \
	}

WRITE_ROW(f32, uint32_t)
WRITE_ROW(bf16, uint16_t)
WRITE_ROW(f16, uint16_t)

void floats_write(enum wload_dtype to, const float *values, size_t count, uint8_t *bytes,
		  uint64_t at, uint64_t stride)
{
	assert(to == WLOAD_DTYPE_F32 || to == WLOAD_DTYPE_BF16 || to == WLOAD_DTYPE_F16);
	if (to == WLOAD_DTYPE_F32)
		write_f32(values, count, bytes + at / 2, stride / 2);
	else if (to == WLOAD_DTYPE_BF16)
		write_bf16(values, count, bytes + at / 2, stride / 2);
	else
		write_f16(values, count, bytes + at / 2, stride / 2);
}

float floats_value(enum wload_dtype from, const uint8_t *at)
{
	if (from == WLOAD_DTYPE_F32)
		return value_f32(at);
	if (from == WLOAD_DTYPE_BF16)
		return value_bf16(at);
	return from == WLOAD_DTYPE_F8_E4M3 ? value_f8(at) : e8m0_value(*at);
}
