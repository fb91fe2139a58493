/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CUDA_JOBS_H
#define WLOAD_CUDA_JOBS_H

/* From steps to jobs of the kernels: which kernel, how much a unit is, and all strides. Pure:
 * device memory is only named. */

#include "loader/device/cuda_kernels.h"
#include "wloadfs/plan.h"

/* Makes the job of a step.
 *
 * staged, base  of the device; aligned to 256 bytes
 *
 * Returns 1, 0 where the step has no element, or -EOPNOTSUPP where the host is to run it: what
 * compares or picks values, of which there are few, and what lies as no kernel takes it. */
int cuda_job_of(const struct wload_step *step, const uint8_t *staged, uint8_t *base,
		struct cuda_job *ret_job);

/* What divides by d, 1 to CUDA_JOB_UNITS. */
struct cuda_divisor cuda_divisor_of(uint32_t d);

/* Whether two jobs may be launched as one; and an order in which such are neighbours. */
int cuda_job_compare(const void *left, const void *right);

#endif
