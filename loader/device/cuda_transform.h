/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_TRANSFORM_H
#define WLOAD_CUDA_TRANSFORM_H

/* A parameter's steps on the GPU: by kernels (cuda_jobs.h), and those of which each is a few values
 * on the host. */

#include <cuda_runtime_api.h>

#include "wloadfs/plan.h"

/* Runs all steps, and waits for them.
 *
 * pool          where to take memory for a moment; NULL: the device has none
 * staged, base  of the device
 *
 * Returns 0, -EBADMSG as transform_run(), or what the device said. */
int cuda_transform_run(cudaStream_t stream, cudaMemPool_t pool, const struct wload_param *param,
		       const uint8_t *staged, uint8_t *base, struct wload_error *err);

#endif
