/* SPDX-License-Identifier: Apache-2.0 */
/* The data types, as one table: all that the rest of the code knows about a type is a row here.
 *
 * Names and widths: safetensors 0.8, `Dtype`. DLPack codes: dlpack.h 1.1, DLDataTypeCode.
 * safetensors' F8_E4M3 is what PyTorch calls float8_e4m3fn, and so is its DLPack code. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "loader/checkpoint/dtype.h"

enum dlpack_code {
	DL_INT = 0,
	DL_UINT = 1,
	DL_FLOAT = 2,
	DL_BFLOAT = 4,
	DL_COMPLEX = 5,
	DL_BOOL = 6,
	DL_F8_E4M3FN = 10,
	DL_F8_E4M3FNUZ = 11,
	DL_F8_E5M2 = 12,
	DL_F8_E5M2FNUZ = 13,
	DL_F8_E8M0FNU = 14,
	DL_F6_E2M3FN = 15,
	DL_F6_E3M2FN = 16,
	DL_F4_E2M1FN = 17,
};

static const struct wload_dtype_desc dtypes[WLOAD_DTYPE_COUNT] = {
	[WLOAD_DTYPE_BOOL] = {"BOOL", 8, "|b1", DL_BOOL},
	[WLOAD_DTYPE_F4] = {"F4", 4, NULL, DL_F4_E2M1FN},
	[WLOAD_DTYPE_F6_E2M3] = {"F6_E2M3", 6, NULL, DL_F6_E2M3FN},
	[WLOAD_DTYPE_F6_E3M2] = {"F6_E3M2", 6, NULL, DL_F6_E3M2FN},
	[WLOAD_DTYPE_U8] = {"U8", 8, "|u1", DL_UINT},
	[WLOAD_DTYPE_I8] = {"I8", 8, "|i1", DL_INT},
	[WLOAD_DTYPE_F8_E5M2] = {"F8_E5M2", 8, "|u1", DL_F8_E5M2},
	[WLOAD_DTYPE_F8_E4M3] = {"F8_E4M3", 8, "|u1", DL_F8_E4M3FN},
	[WLOAD_DTYPE_F8_E8M0] = {"F8_E8M0", 8, "|u1", DL_F8_E8M0FNU},
	[WLOAD_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8, "|u1", DL_F8_E4M3FNUZ},
	[WLOAD_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8, "|u1", DL_F8_E5M2FNUZ},
	[WLOAD_DTYPE_I16] = {"I16", 16, "<i2", DL_INT},
	[WLOAD_DTYPE_U16] = {"U16", 16, "<u2", DL_UINT},
	[WLOAD_DTYPE_F16] = {"F16", 16, "<f2", DL_FLOAT},
	[WLOAD_DTYPE_BF16] = {"BF16", 16, "<u2", DL_BFLOAT},
	[WLOAD_DTYPE_I32] = {"I32", 32, "<i4", DL_INT},
	[WLOAD_DTYPE_U32] = {"U32", 32, "<u4", DL_UINT},
	[WLOAD_DTYPE_F32] = {"F32", 32, "<f4", DL_FLOAT},
	[WLOAD_DTYPE_C64] = {"C64", 64, "<c8", DL_COMPLEX},
	[WLOAD_DTYPE_F64] = {"F64", 64, "<f8", DL_FLOAT},
	[WLOAD_DTYPE_I64] = {"I64", 64, "<i8", DL_INT},
	[WLOAD_DTYPE_U64] = {"U64", 64, "<u8", DL_UINT},
};

const struct wload_dtype_desc *wload_dtype_describe(enum wload_dtype dtype)
{
	assert(dtype < WLOAD_DTYPE_COUNT);
	return &dtypes[dtype];
}

int dtype_parse(const char *name, size_t len, enum wload_dtype *ret_dtype)
{
	unsigned int i;

	for (i = 0; i < WLOAD_DTYPE_COUNT; i++) {
		if (strlen(dtypes[i].name) != len || memcmp(dtypes[i].name, name, len) != 0)
			continue;
		*ret_dtype = (enum wload_dtype)i;
		return 0;
	}
	return -EOPNOTSUPP;
}

int wload_dtype_parse(const char *name, enum wload_dtype *ret_dtype)
{
	return dtype_parse(name, strlen(name), ret_dtype);
}
