/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "loader/device/cuda_error.h"

static int runtime_errno(cudaError_t e)
{
	switch (e) {
	case cudaErrorMemoryAllocation:
		return ENOMEM;
	case cudaErrorNoDevice:
	case cudaErrorInvalidDevice:
	case cudaErrorInsufficientDriver:
	case cudaErrorSystemDriverMismatch:
	case cudaErrorCompatNotSupportedOnDevice:
		return ENODEV;
	default:
		return EIO;
	}
}

int cuda_result(cudaError_t e, const char *call, struct wload_error *err)
{
	if (e == cudaSuccess)
		return 0;
	(void)cudaGetLastError();
	return wload_fail(err, runtime_errno(e), "%s: %s (%s)", call, cudaGetErrorString(e),
			  cudaGetErrorName(e));
}
