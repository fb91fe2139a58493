/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_ERROR_H
#define WLOAD_CUDA_ERROR_H

#include <cuda_runtime_api.h>

#include "wloadfs/error.h"

/* Turns a runtime call's result into ours, and takes the error off the thread: the runtime would
 * give it to the next caller of cudaGetLastError() too.
 *
 * Returns 0, -ENOMEM, -ENODEV or -EIO. */
int cuda_result(cudaError_t e, const char *call, struct wload_error *err);

#endif
