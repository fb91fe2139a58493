/* SPDX-License-Identifier: Apache-2.0 */
/* Launching kernels. In a launch blockIdx.y is the job and blockIdx.x a run of its units; jobs with
 * fewer units than the largest leave the rest of their blocks without work. */

#include "loader/device/cuda_device.h"

const bool cuda_kernels_there = true;

static cuda_kernel_fn kernel_of(const struct cuda_job *like)
{
	switch (like->kernel) {
	case CUDA_MOVE:
	case CUDA_PAIRS:
	case CUDA_TRANSPOSE:
		return cuda_moves_kernel(like);
	case CUDA_VALUES:
	case CUDA_VALUES_TILE:
		return cuda_values_kernel(like);
	default:
		return cuda_requantise_kernel(like);
	}
}

static uint32_t block_units(enum cuda_kernel kernel)
{
	switch (kernel) {
	case CUDA_TRANSPOSE:
	case CUDA_VALUES_TILE:
		return 1;
	case CUDA_VALUES:
		return CUDA_BLOCK_THREADS;
	case CUDA_REQUANTISE_NVFP4_WEIGHT:
		return CUDA_BLOCK_THREADS * CUDA_THREAD_GROUPS;
	default:
		return CUDA_BLOCK_THREADS * CUDA_THREAD_UNITS;
	}
}

cudaError_t cuda_kernels_launch(const struct cuda_job *like, const struct cuda_job *jobs,
				uint32_t count, uint32_t most_units, cudaStream_t stream)
{
	uint32_t each = block_units(like->kernel);
	dim3 grid((most_units + each - 1) / each, count);
	void *arguments[] = {&jobs};

	return cudaLaunchKernel((const void *)kernel_of(like), grid, dim3(CUDA_BLOCK_THREADS),
				arguments, 0, stream);
}
