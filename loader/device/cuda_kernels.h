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
	CUDA_TRANSPOSE,	     /* a unit is a tile: the last two dimensions are tiled */
	CUDA_VALUES,	     /* a unit is CUDA_VALUES_UNIT elements of the last dimension */
	CUDA_REQUANTISE_FP8, /* an element */
	CUDA_REQUANTISE_NVFP4_WEIGHT, /* a group of 16 of the last dimension */
	CUDA_REQUANTISE_NVFP4_SCALE,  /* a group */
};

#define CUDA_VALUES_UNIT   16
#define CUDA_BLOCK_THREADS 256
#define CUDA_THREAD_UNITS  4 /* of one after the other; a tile is a block's */

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
	uint32_t block[WLOAD_STEP_DIMS];
	uint32_t phase[WLOAD_STEP_DIMS]; /* where in its block the first index is */
	uint32_t skip; /* indexes of the last dimension before the first that its first unit has */

	const uint8_t *scale_2; /* F32; or NULL */
	const uint8_t *all;	/* F32, of which the largest is taken; or NULL */
	uint32_t all_count;
	uint64_t all_stride; /* bytes */
};

#define CUDA_JOB_UNITS ((uint32_t)1 << 31)

/* Elements in a side of a tile of CUDA_TRANSPOSE: a row of it is 32 words. */
#define CUDA_TILE(width) ((width) < 4 ? 128 / (width) : 32)

/* Whether they were compiled: a toolkit may be without nvcc. */
extern const bool cuda_kernels_there;

/* Queues `count` jobs (device memory) that are alike, the largest of which has that many units. */
cudaError_t cuda_kernels_launch(const struct cuda_job *like, const struct cuda_job *jobs,
				uint32_t count, uint32_t most_units, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
