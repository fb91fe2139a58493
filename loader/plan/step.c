/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of steps, as one table. */

#include <assert.h>

#include "loader/plan/step.h"

static const char *const names[] = {
	[WLOAD_STEP_MOVE] = "move",
	[WLOAD_STEP_CAST] = "cast",
	[WLOAD_STEP_DEQUANTISE_FP8] = "dequantise_fp8",
	[WLOAD_STEP_DEQUANTISE_NVFP4] = "dequantise_nvfp4",
	[WLOAD_STEP_DEQUANTISE_MXFP4] = "dequantise_mxfp4",
	[WLOAD_STEP_REQUANTISE_FP8] = "requantise_fp8",
	[WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT] = "requantise_nvfp4_weight",
	[WLOAD_STEP_REQUANTISE_NVFP4_SCALE] = "requantise_nvfp4_scale",
	[WLOAD_STEP_MAX] = "max",
	[WLOAD_STEP_EQUAL] = "equal",
};

const char *step_kind_name(enum wload_step_kind kind)
{
	assert(kind < sizeof(names) / sizeof(*names));
	return names[kind];
}
