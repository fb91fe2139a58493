/* SPDX-License-Identifier: Apache-2.0 */
/* In the kernels' stead where there is no nvcc: steps are run on the host then. */

#include "loader/device/cuda_kernels.h"

const bool cuda_kernels_there = false;

cudaError_t cuda_kernels_launch(const struct cuda_job *like, const struct cuda_job *jobs,
				uint32_t count, uint32_t most_units, cudaStream_t stream)
{
	(void)like;
	(void)jobs;
	(void)count;
	(void)most_units;
	(void)stream;
	return cudaErrorNotSupported;
}
