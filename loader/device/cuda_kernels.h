/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_KERNELS_H
#define WLOAD_CUDA_KERNELS_H

/* The steps of a parameter as the GPU runs them: jobs, each a box of units that are alike, and one
 * launch for all jobs of one kernel.
 *
 * A unit is what one thread does at once: an element, several of a row, a group, by the kernel. A
 * job's units are numbered with the last dimension fastest. All addresses are the device's. */

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/transform.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cuda_kernel {
	CUDA_MOVE,	     /* a unit is an element of `width` bytes */
	CUDA_PAIRS,	     /* 16 bytes of the last dimension, which has pairs: they are parted */
	CUDA_TRANSPOSE,	     /* a tile: the last two dimensions are tiled */
	CUDA_VALUES,	     /* CUDA_VALUES_UNIT elements of the last dimension */
	CUDA_VALUES_TILE,    /* a tile, of values that are transposed as well */
	CUDA_REQUANTISE_FP8, /* CUDA_BYTES_UNIT elements of the last dimension; one scale for all */
	CUDA_REQUANTISE_EACH,	      /* an element of FP8 */
	CUDA_REQUANTISE_NVFP4_WEIGHT, /* a group of 16 of the last dimension */
	CUDA_REQUANTISE_NVFP4_SCALE,  /* a group */
};

#define CUDA_PAIRS_UNIT(width) (8 / (width)) /* pairs */
#define CUDA_VALUES_UNIT       16
#define CUDA_BYTES_UNIT	       16
#define CUDA_BLOCK_THREADS     256
#define CUDA_THREAD_UNITS      4 /* that are on their way at once; a tile is a block's */

/* n / d is n * magic >> shift, of any n below CUDA_JOB_UNITS. */
struct cuda_divisor {
	uint32_t magic, shift;
};

/* A dimension that is two: index i lies at i % inner of it, and at i / inner of an outer one. */
struct cuda_fold {
	uint32_t inner; /* CUDA_JOB_UNITS where it is but one */
	struct cuda_divisor by;
	uint64_t outer_stride; /* bytes */
};

struct cuda_job {
	/* those of one launch have the same */
	enum cuda_kernel kernel;
	enum wload_step_kind kind;
	enum wload_dtype from, to; /* from: F4 is E2M1 */
	uint32_t width;		   /* bytes moved at once */

	const uint8_t *in, *scale;
	uint8_t *out;
	enum wload_dtype scale_dtype;
	uint32_t in_half; /* the first 4-bit element is the high half of its byte */

	uint32_t dims, units;		     /* units: of the job; at most CUDA_JOB_UNITS */
	uint32_t size[WLOAD_STEP_DIMS];	     /* elements; of those that are tiled, too */
	uint64_t in_stride[WLOAD_STEP_DIMS]; /* bytes; halves of them where `from` is F4 */
	uint64_t out_stride[WLOAD_STEP_DIMS];
	uint64_t scale_stride[WLOAD_STEP_DIMS]; /* bytes */
	struct cuda_divisor size_by[WLOAD_STEP_DIMS], block_by[WLOAD_STEP_DIMS];
	uint32_t phase[WLOAD_STEP_DIMS]; /* where in its block the first index is */
	uint32_t skip; /* indexes of the last dimension before the first that its first unit has */

	/* of tiles: how many there are in the last two dimensions; of these the last is folded in
	 * what is read, the other one in what is written */
	struct cuda_divisor tiles_across_by, tiles_along_by;
	uint32_t tiles_across, tiles_along;
	struct cuda_fold along, across;

	/* of pairs: bit 0 and bit 1 say whether the first and the second of each are wanted; where
	 * the second goes, in bytes from the first */
	uint32_t pairs;
	uint64_t pair_stride;

	const uint8_t *scale_2; /* F32; or NULL */
	const uint8_t *all;	/* F32, of which the largest is taken; or NULL */
	uint32_t all_count;
	uint64_t all_stride; /* bytes */
};

#define CUDA_JOB_UNITS ((uint32_t)1 << 31)

/* Elements in a side of a tile, by the bytes of one that is written: rows are of 128 or 256. */
#define CUDA_TILE(width) ((width) == 1 ? 128 : (width) == 8 ? 32 : 64)

/* Whether they were compiled: a toolkit may be without nvcc. */
extern const bool cuda_kernels_there;

/* Queues `count` jobs (device memory) that are alike, the largest of which has that many units. */
cudaError_t cuda_kernels_launch(const struct cuda_job *like, const struct cuda_job *jobs,
				uint32_t count, uint32_t most_units, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
