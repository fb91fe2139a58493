/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_DLPACK_H
#define WLOADFS_DLPACK_H

/* What wload_load_dlpack() gives: DLPack's exchange struct, as its ABI 0.8 lays it out and every
 * consumer of a "dltensor" capsule expects it. Declared here so that nothing need be installed;
 * where DLPack's own header is included first, its declarations are used.
 *
 * Layout: https://dmlc.github.io/dlpack/latest/c_api.html,
 * https://github.com/dmlc/dlpack/blob/v0.8/include/dlpack/dlpack.h */

#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { kDLCPU = 1, kDLCUDA = 2 } DLDeviceType;

typedef enum {
	kDLInt = 0,
	kDLUInt = 1,
	kDLFloat = 2,
	kDLBfloat = 4,
	kDLComplex = 5,
	kDLBool = 6
} DLDataTypeCode;

typedef struct {
	int32_t device_type; /* a DLDeviceType */
	int32_t device_id;
} DLDevice;

typedef struct {
	uint8_t code;	/* a DLDataTypeCode */
	uint8_t bits;	/* of one lane */
	uint16_t lanes; /* 1: no vector */
} DLDataType;

typedef struct {
	void *data;
	DLDevice device;
	int32_t ndim;
	DLDataType dtype;
	int64_t *shape;
	int64_t *strides; /* in elements */
	uint64_t byte_offset;
} DLTensor;

typedef struct DLManagedTensor {
	DLTensor dl_tensor;
	void *manager_ctx; /* the producer's */
	void (*deleter)(struct DLManagedTensor *self);
} DLManagedTensor;

#ifdef __cplusplus
}
#endif

#endif
#endif
