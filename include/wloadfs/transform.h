/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TRANSFORM_H
#define WLOADFS_TRANSFORM_H

/* What is done to bytes that can't be used as they are: steps.
 *
 * A parameter with steps is made in two moves. Its sources are placed in a staging area of its own;
 * once all of them are there its steps, in any order, make the parameter's bytes from that:
 *
 *   sources  --placed-->  staging area  --steps-->  parameter
 *
 * Most steps are a loop over a box of indexes. Index d runs over size[d] values from begin[d] on;
 * dimensions that are not needed have size 1. Strides are in elements of the type they are of:
 *
 *   out element  out + sum(i[d] * out_stride[d])       (in bytes: out + … * width of `to`)
 *   in element   in + sum(i[d] * in_stride[d])         (a 4-bit one is half a byte, the even one
 *                                                       of a byte is its low half)
 *   scale        scale + sum(i[d] / block[d] * scale_stride[d])
 *
 * Dimensions come with the largest out_stride first. Each byte of a parameter is written by one
 * step, or, where `zeroed` says that it begins as zeros (padding), by none. Steps come in the order
 * of their first byte in the parameter. Every step but WLOAD_STEP_EQUAL can't fail.
 *
 * Arithmetic is that of IEEE 754 single precision, each operation rounded to nearest even and none
 * contracted, so that host and GPU agree bit for bit; F64 is rounded to F32 first. NaN in gives the
 * positive quiet NaN out (E2M1, which has none, 0). Of E8M0 255 is NaN. */

#include "wloadfs/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WLOAD_STEP_DIMS 6

enum wload_step_kind {
	/* Bytes as they are: `from` is `to`, of 8, 16, 32 or 64 bits. */
	WLOAD_STEP_MOVE,
	/* A value of BF16, F16, F32, F8_E4M3 or F64 rounded to BF16, F16 or F32. */
	WLOAD_STEP_CAST,
	/* value(F8_E4M3, in) * scale (F32 or BF16), rounded to BF16, F16 or F32. */
	WLOAD_STEP_DEQUANTISE_FP8,
	/* E2M1 (4 bits, in) * (value(F8_E4M3, scale) * F32 at scale_2); to BF16, F16 or F32. */
	WLOAD_STEP_DEQUANTISE_NVFP4,
	/* E2M1 (4 bits, in) * 2^(U8 at scale - 127), rounded to BF16, F16 or F32. */
	WLOAD_STEP_DEQUANTISE_MXFP4,
	/* value(F8_E4M3, in) * F32 at scale / m, saturated and rounded to F8_E4M3; m is the largest
	 * of the `reduce` F32 values at scale_2, reduce_stride elements apart. Where the scale is m
	 * itself bytes stay as they are. */
	WLOAD_STEP_REQUANTISE_FP8,
	/* NVFP4 whose scale_2 becomes m, the largest of `reduce` F32 values at all_scale_2, each
	 * reduce_stride elements apart; its own is at scale_2. Where that is m, bytes stay as they
	 * are. Else, of each 16 elements of a row, with v = E2M1 * (scale * scale_2):
	 *   new scale  F8_E4M3 of (max |v| / 6) / m, saturated
	 *   element    E2M1 nearest to v / (new scale * m), ties to even; 0 where that is 0
	 * _WEIGHT writes the elements (`to` is U8: a step's index of its last dimension counts
	 * elements all the same, strides too), _SCALE the new scales (its last dimension counts
	 * blocks of 16; in_stride of it is 16). */
	WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT,
	WLOAD_STEP_REQUANTISE_NVFP4_SCALE,
	/* The largest of `reduce` values (F32 or BF16) in, reduce_stride elements apart, of each
	 * index. */
	WLOAD_STEP_MAX,
	/* One of `reduce` values that are all the same, bit for bit; else -EBADMSG. */
	WLOAD_STEP_EQUAL,
};

struct wload_step {
	enum wload_step_kind kind;
	const char *name; /* of the transform, for people: "transpose", "deinterleave", "swizzle",
			   * "dequantise", "cast", "requantise", "max", "equal"; static */
	enum wload_dtype from, to;
	enum wload_dtype scale_dtype; /* of what is at `scale` */
	uint64_t in, scale;	      /* bytes, from the staging area's first one */
	uint64_t scale_2, all_scale_2;
	uint64_t out; /* bytes, from the parameter's first one */
	uint64_t begin[WLOAD_STEP_DIMS], size[WLOAD_STEP_DIMS];
	uint64_t in_stride[WLOAD_STEP_DIMS], out_stride[WLOAD_STEP_DIMS];
	uint64_t block[WLOAD_STEP_DIMS]; /* indexes that share a scale; at least 1 */
	uint64_t scale_stride[WLOAD_STEP_DIMS];
	uint64_t reduce, reduce_stride;
};

#ifdef __cplusplus
}
#endif
#endif
