/* SPDX-License-Identifier: Apache-2.0 */
/* First the kernels: jobs go to the device together, and each run of those that are alike is one
 * launch, so that a stack of 128 experts costs as many launches as one. Then the steps that the
 * host runs, in windows of the parameter, in which bytes that kernels made stay as they are. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/device/cuda_error.h"
#include "loader/device/cuda_jobs.h"
#include "loader/device/cuda_transform.h"
#include "loader/transform/box.h"
#include "loader/transform/transform.h"

#define LAUNCH_JOBS  32768u /* gridDim.y ends at 65535 */
#define WINDOW_BYTES ((uint64_t)1 << 20)

struct work {
	cudaStream_t stream;
	cudaMemPool_t pool;
	const struct wload_param *param;
	const uint8_t *staged;
	uint8_t *base;
	struct cuda_job *jobs;
	struct wload_step *host; /* steps that the host runs */
	uint32_t job_count, host_count;
	uint8_t *small; /* all staged bytes, where they are few; or NULL */
};

static void work_free(struct work *work)
{
	free(work->jobs);
	free(work->host);
	free(work->small);
}

/* Tells apart what runs where. */
static int sort_steps(struct work *work, struct wload_error *err)
{
	uint32_t count = work->param->step_count;

	work->jobs = calloc(count, sizeof(*work->jobs));
	work->host = calloc(count, sizeof(*work->host));
	if (!work->jobs || !work->host)
		return wload_fail(err, ENOMEM, "no memory for %u steps of '%s'", count,
				  work->param->name);
	for (uint32_t s = 0; s < count; s++) {
		const struct wload_step *step = &work->param->steps[s];
		int r = cuda_kernels_there ? cuda_job_of(step, work->staged, work->base,
							 &work->jobs[work->job_count])
					   : -EOPNOTSUPP;

		if (r < 0)
			work->host[work->host_count++] = *step;
		else
			work->job_count += (uint32_t)r;
	}
	qsort(work->jobs, work->job_count, sizeof(*work->jobs), cuda_job_compare);
	return 0;
}

/* ---- kernels ----------------------------------------------------------------------------------
 */

static int jobs_alloc(const struct work *work, size_t bytes, struct cuda_job **ret_jobs,
		      struct wload_error *err)
{
	void *jobs = NULL;
	int r = work->pool ? cuda_result(cudaMallocFromPoolAsync(&jobs, bytes, work->pool,
								 work->stream),
					 "cudaMallocFromPoolAsync", err)
			   : cuda_result(cudaMalloc(&jobs, bytes), "cudaMalloc", err);

	*ret_jobs = jobs;
	return r;
}

static void jobs_free(const struct work *work, struct cuda_job *jobs)
{
	if (!jobs)
		return;
	if (work->pool)
		(void)cudaFreeAsync(jobs, work->stream);
	else
		(void)cudaFree(jobs); /* waits for the device */
	(void)cudaGetLastError();
}

/* Launches the jobs from `first` on that are alike. Returns how many those are. */
static int launch_alike(const struct work *work, const struct cuda_job *there, uint32_t first,
			struct wload_error *err)
{
	const struct cuda_job *like = &work->jobs[first];
	uint32_t count = 0, most = 0;
	int r;

	while (first + count < work->job_count && count < LAUNCH_JOBS &&
	       cuda_job_compare(like, like + count) == 0) {
		most = like[count].units > most ? like[count].units : most;
		count++;
	}
	r = cuda_result(cuda_kernels_launch(like, there + first, count, most, work->stream),
			"cudaLaunchKernel", err);
	return r < 0 ? r : (int)count;
}

static int run_jobs(const struct work *work, struct wload_error *err)
{
	size_t bytes = work->job_count * sizeof(*work->jobs);
	struct cuda_job *there = NULL;
	uint32_t first = 0;
	int r = bytes ? jobs_alloc(work, bytes, &there, err) : 0;

	if (r == 0 && bytes)
		r = cuda_result(cudaMemcpyAsync(there, work->jobs, bytes, cudaMemcpyHostToDevice,
						work->stream),
				"cudaMemcpyAsync of jobs", err);
	while (r >= 0 && first < work->job_count) {
		r = launch_alike(work, there, first, err);
		first += r > 0 ? (uint32_t)r : 0;
	}
	jobs_free(work, there);
	return r < 0 ? r : 0;
}

static int wait_for_all(const struct work *work, struct wload_error *err)
{
	return cuda_result(cudaStreamSynchronize(work->stream), "cudaStreamSynchronize", err);
}

/* ---- the host's -------------------------------------------------------------------------------
 */

/* A transform_reader of staged bytes on the device. */
static int read_staged(void *ctx, uint64_t offset, size_t piece, size_t rows, uint64_t stride,
		       uint8_t *buf, struct wload_error *err)
{
	const struct work *work = ctx;
	int r = 0;

	for (size_t i = 0; work->small && i < rows; i++)
		memcpy(buf + i * piece, work->small + offset + i * stride, piece);
	if (!work->small)
		r = cuda_result(cudaMemcpy2DAsync(buf, piece, work->staged + offset,
						  rows > 1 ? stride : piece, piece, rows,
						  cudaMemcpyDeviceToHost, work->stream),
				"cudaMemcpy2DAsync from the device", err);
	return r < 0 || work->small ? r : wait_for_all(work, err);
}

static int read_small(struct work *work, struct wload_error *err)
{
	uint64_t bytes = work->param->staged_bytes;
	int r;

	if (bytes > WINDOW_BYTES)
		return 0;
	work->small = malloc(bytes ? bytes : 1);
	if (!work->small)
		return wload_fail(err, ENOMEM, "no memory for the %llu staged bytes of '%s'",
				  (unsigned long long)bytes, work->param->name);
	r = cuda_result(cudaMemcpyAsync(work->small, work->staged, bytes, cudaMemcpyDeviceToHost,
					work->stream),
			"cudaMemcpyAsync from the device", err);
	return r < 0 ? r : wait_for_all(work, err);
}

static int copy_window(const struct work *work, uint64_t at, size_t n, uint8_t *buf, bool back,
		       struct wload_error *err)
{
	int r = back ? cuda_result(cudaMemcpyAsync(work->base + at, buf, n, cudaMemcpyHostToDevice,
						   work->stream),
				   "cudaMemcpyAsync to the device", err)
		     : cuda_result(cudaMemcpyAsync(buf, work->base + at, n, cudaMemcpyDeviceToHost,
						   work->stream),
				   "cudaMemcpyAsync from the device", err);

	return r < 0 ? r : wait_for_all(work, err);
}

/* Tells box_narrow()'s caller that there is something. */
static int is_there(void *ctx, const struct box *box, bool part)
{
	(void)ctx;
	(void)box;
	(void)part;
	return 1;
}

static bool touched(const struct work *work, uint64_t lo, uint64_t hi)
{
	for (uint32_t s = 0; s < work->host_count; s++) {
		struct box box = box_of(&work->host[s]);

		if (box_narrow(&work->host[s], &box, lo, hi, is_there, NULL))
			return true;
	}
	return false;
}

static int run_window(struct work *work, uint64_t lo, uint64_t hi, uint8_t *buf,
		      struct wload_error *err)
{
	struct wload_param part = *work->param;
	int r = copy_window(work, lo, (size_t)(hi - lo), buf, false, err);

	part.steps = work->host;
	part.step_count = work->host_count;
	part.zeroed = false; /* it was done, and kernels have written since */
	if (r == 0)
		r = transform_window(&part, lo, hi, read_staged, work, buf, err);
	return r < 0 ? r : copy_window(work, lo, (size_t)(hi - lo), buf, true, err);
}

static int run_host(struct work *work, struct wload_error *err)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	uint64_t bytes = work->param->bytes;
	int r = 0;

	if (work->host_count == 0)
		return 0;
	buf = malloc(WINDOW_BYTES);
	if (!buf)
		return wload_fail(err, ENOMEM, "no memory to run the steps of '%s'",
				  work->param->name);
	r = read_small(work, err);
	for (uint64_t lo = 0; r == 0 && lo < bytes; lo += WINDOW_BYTES) {
		uint64_t hi = bytes - lo < WINDOW_BYTES ? bytes : lo + WINDOW_BYTES;

		if (touched(work, lo, hi))
			r = run_window(work, lo, hi, buf, err);
	}
	return r;
}

int cuda_transform_run(cudaStream_t stream, cudaMemPool_t pool, const struct wload_param *param,
		       const uint8_t *staged, uint8_t *base, struct wload_error *err)
{
	struct work work CLEANUP(work_free) = {
		.stream = stream, .pool = pool, .param = param, .staged = staged, .base = base};
	int r = 0;

	if (param->bytes == 0)
		return 0;
	if (param->zeroed)
		r = cuda_result(cudaMemsetAsync(base, 0, param->bytes, stream), "cudaMemsetAsync",
				err);
	if (r == 0)
		r = sort_steps(&work, err);
	if (r == 0)
		r = run_jobs(&work, err);
	if (r == 0)
		r = wait_for_all(&work, err);
	return r < 0 ? r : run_host(&work, err);
}
