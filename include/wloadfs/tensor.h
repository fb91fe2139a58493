/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TENSOR_H
#define WLOADFS_TENSOR_H

/* Data types, tensors, and the inventory: every tensor of a checkpoint, in disk order.
 *
 * Names are UTF-8 with one exception: a NUL inside a name, which the format allows, is held as the
 * two bytes C0 80 ("modified UTF-8"), which no valid UTF-8 contains. So a name is a C string. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The data types of safetensors 0.8 (its `Dtype`). */
enum wload_dtype {
	WLOAD_DTYPE_BOOL,
	WLOAD_DTYPE_F4,
	WLOAD_DTYPE_F6_E2M3,
	WLOAD_DTYPE_F6_E3M2,
	WLOAD_DTYPE_U8,
	WLOAD_DTYPE_I8,
	WLOAD_DTYPE_F8_E5M2,
	WLOAD_DTYPE_F8_E4M3,
	WLOAD_DTYPE_F8_E8M0,
	WLOAD_DTYPE_F8_E4M3FNUZ,
	WLOAD_DTYPE_F8_E5M2FNUZ,
	WLOAD_DTYPE_I16,
	WLOAD_DTYPE_U16,
	WLOAD_DTYPE_F16,
	WLOAD_DTYPE_BF16,
	WLOAD_DTYPE_I32,
	WLOAD_DTYPE_U32,
	WLOAD_DTYPE_F32,
	WLOAD_DTYPE_C64,
	WLOAD_DTYPE_F64,
	WLOAD_DTYPE_I64,
	WLOAD_DTYPE_U64,
	WLOAD_DTYPE_COUNT
};

struct wload_dtype_desc {
	const char *name;  /* as in a safetensors header: "BF16" */
	unsigned int bits; /* of one element */
	const char *numpy; /* array-interface typestr; the unsigned integer of the same width where
			    * NumPy has no such type (BF16, 8-bit floats); NULL: none (F4, F6) */
	uint8_t dlpack;	   /* DLDataTypeCode of the true type (dlpack.h 1.1: kDLInt 0, kDLUInt 1,
			    * kDLFloat 2, kDLBfloat 4, kDLComplex 5, kDLBool 6, 8-bit floats 7-14 …) */
};

/* Describes a data type; never NULL for a value below WLOAD_DTYPE_COUNT. */
WLOAD_API const struct wload_dtype_desc *wload_dtype_describe(enum wload_dtype dtype);

/* Finds a data type by its safetensors name ("BF16"; case counts).
 *
 * Returns 0, or -EOPNOTSUPP when there is none of that name. */
WLOAD_API int wload_dtype_parse(const char *name, enum wload_dtype *ret_dtype);

/* One tensor, as its shard's header describes it. The pointers are borrowed from the inventory. */
struct wload_tensor {
	const char *name;      /* modified UTF-8, see above */
	const uint64_t *shape; /* rank dimensions, outermost first */
	uint32_t rank;	       /* 0: a scalar */
	enum wload_dtype dtype;
	uint32_t shard;	 /* index of the shard that holds it */
	uint64_t offset; /* of its first byte, from the shard file's first byte */
	uint64_t bytes;	 /* its length; may be 0 */
};

/* Every tensor of a checkpoint. Indexes run 0 … count-1 in disk order: by shard, then by offset,
 * zero-byte tensors first at an offset, then by name. Immutable, so any thread may use it. */
struct wload_inventory;

WLOAD_API uint32_t wload_inventory_count(const struct wload_inventory *inv);

/* Sum of all tensors' bytes. */
WLOAD_API uint64_t wload_inventory_bytes(const struct wload_inventory *inv);

/* The tensor at index (must be below the count). */
WLOAD_API struct wload_tensor wload_inventory_tensor(const struct wload_inventory *inv,
						     uint32_t index);

/* Finds a tensor by its exact name.
 *
 * Returns 0, or -ENOENT. */
WLOAD_API int wload_inventory_find(const struct wload_inventory *inv, const char *name,
				   uint32_t *ret_index);

/* Translates a rank in the order of names (bytewise, 0 … count-1) to a tensor index. */
WLOAD_API uint32_t wload_inventory_by_name(const struct wload_inventory *inv, uint32_t name_rank);

/* The tensors whose names start with the first prefix_len bytes of prefix, nothing added: for a
 * module pass its name with the dot. They are the name ranks [*ret_first, *ret_end). */
WLOAD_API void wload_inventory_prefix(const struct wload_inventory *inv, const char *prefix,
				      size_t prefix_len, uint32_t *ret_first, uint32_t *ret_end);

#ifdef __cplusplus
}
#endif
#endif
