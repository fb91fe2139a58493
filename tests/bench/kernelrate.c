/* SPDX-License-Identifier: Apache-2.0 */
/* How fast steps are run on the GPU, beside the fastest that its memory is copied.
 *
 *   kernelrate [DEVICE]      default "cuda"
 *
 * One line of JSON for the copy from device memory to device memory, then one for each step: name,
 * steps, bytes that were read and written, seconds (the best of some runs, from the call to the
 * last byte), bytes_per_second of both together, and share, of the copy's. Exit 77 without a GPU.
 */

#include <cuda_runtime_api.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "loader/device/device.h"
#include "wloadfs/plan.h"

#define EXIT_SKIP  77
#define RUNS	   10
#define COPY_BYTES ((size_t)2 << 30)
#define COPY_RUNS  8 /* one behind the other, so that the call itself counts little */

#define BF16	   WLOAD_DTYPE_BF16
#define F16	   WLOAD_DTYPE_F16
#define F32	   WLOAD_DTYPE_F32
#define F8	   WLOAD_DTYPE_F8_E4M3
#define E8M0	   WLOAD_DTYPE_F8_E8M0
#define U8	   WLOAD_DTYPE_U8
#define ONES                     \
	{                        \
		1, 1, 1, 1, 1, 1 \
	}

/* One step of a parameter that has `steps` of them, one behind the other. */
static const struct row {
	const char *name;
	uint32_t steps;
	uint64_t staged, bytes;
	struct wload_step step;
} rows[] = {
	{"move: rows of a stack, BF16 [7168, 2048] of [7168, 4096]",
	 32,
	 2 * 7168 * 4096,
	 2 * 7168 * 2048,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {7168, 2048, 1, 1, 1, 1},
	  .in_stride = {4096, 1},
	  .out_stride = {2048, 1},
	  .block = ONES}},
	{"transpose: kv_b, BF16 16 x [128, 512], one layer",
	 1,
	 2 * 16 * 128 * 512,
	 2 * 16 * 128 * 512,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {16, 512, 128, 1, 1, 1},
	  .in_stride = {128 * 512, 1, 512},
	  .out_stride = {512 * 128, 128, 1},
	  .block = ONES}},
	{"transpose: kv_b, BF16 16 x [128, 512], 512 layers",
	 512,
	 2 * 16 * 128 * 512,
	 2 * 16 * 128 * 512,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {16, 512, 128, 1, 1, 1},
	  .in_stride = {128 * 512, 1, 512},
	  .out_stride = {512 * 128, 128, 1},
	  .block = ONES}},
	{"transpose: Llama-4's experts, BF16 [5120, 16384]",
	 8,
	 UINT64_C(2) * 5120 * 16384,
	 UINT64_C(2) * 5120 * 16384,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {16384, 5120, 1, 1, 1, 1},
	  .in_stride = {1, 16384},
	  .out_stride = {5120, 1},
	  .block = ONES}},
	{"transpose: bytes [5120, 16384]",
	 8,
	 UINT64_C(5120) * 16384,
	 UINT64_C(5120) * 16384,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = U8,
	  .to = U8,
	  .size = {16384, 5120, 1, 1, 1, 1},
	  .in_stride = {1, 16384},
	  .out_stride = {5120, 1},
	  .block = ONES}},
	{"deinterleave: each second element, BF16 [2880, 5760]",
	 64,
	 2 * 2880 * 5760,
	 2 * 2880 * 5760,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {2880, 2, 2880, 1, 1, 1},
	  .in_stride = {5760, 1, 2},
	  .out_stride = {5760, 2880, 1},
	  .block = ONES}},
	{"transpose: gpt-oss's pairs parted, BF16 [2880, 5760]",
	 32,
	 2 * 2880 * 5760,
	 2 * 2880 * 5760,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {2, 2880, 2880, 1, 1, 1},
	  .in_stride = {1, 2, 5760},
	  .out_stride = {2880 * 2880, 2880, 1},
	  .block = ONES}},
	{"swizzle: scales [4096, 448], 128x4",
	 256,
	 4096 * 448,
	 4096 * 448,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = F8,
	  .to = F8,
	  .size = {32, 112, 32, 4, 4, 1},
	  .in_stride = {128 * 448, 4, 448, 32 * 448, 1},
	  .out_stride = {112 * 512, 512, 16, 4, 1},
	  .block = ONES}},
	{"cast: F32 to BF16",
	 1,
	 UINT64_C(4) << 28,
	 UINT64_C(2) << 28,
	 {.kind = WLOAD_STEP_CAST,
	  .from = F32,
	  .to = BF16,
	  .size = {1 << 28, 1, 1, 1, 1, 1},
	  .in_stride = {1},
	  .out_stride = {1},
	  .block = ONES}},
	{"cast: BF16 to F16",
	 1,
	 UINT64_C(2) << 28,
	 UINT64_C(2) << 28,
	 {.kind = WLOAD_STEP_CAST,
	  .from = BF16,
	  .to = F16,
	  .size = {1 << 28, 1, 1, 1, 1, 1},
	  .in_stride = {1},
	  .out_stride = {1},
	  .block = ONES}},
	{"cast: F32 to BF16, transposed [4096, 8192]",
	 8,
	 UINT64_C(4) * 4096 * 8192,
	 UINT64_C(2) * 4096 * 8192,
	 {.kind = WLOAD_STEP_CAST,
	  .from = F32,
	  .to = BF16,
	  .size = {8192, 4096, 1, 1, 1, 1},
	  .in_stride = {1, 8192},
	  .out_stride = {4096, 1},
	  .block = ONES}},
	{"dequantise: FP8 of blocks of 128, [7168, 2048]",
	 64,
	 7168 * 2048 + 4 * 56 * 16,
	 2 * 7168 * 2048,
	 {.kind = WLOAD_STEP_DEQUANTISE_FP8,
	  .from = F8,
	  .to = BF16,
	  .scale_dtype = F32,
	  .size = {7168, 2048, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = {128, 128, 1, 1, 1, 1},
	  .scale = 7168 * 2048,
	  .scale_stride = {16, 1}}},
	{"dequantise: NVFP4 [7168, 2048]",
	 64,
	 7168 * 1024 + 7168 * 128 + 16,
	 2 * 7168 * 2048,
	 {.kind = WLOAD_STEP_DEQUANTISE_NVFP4,
	  .from = U8,
	  .to = BF16,
	  .scale_dtype = F8,
	  .size = {7168, 2048, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale = 7168 * 1024,
	  .scale_stride = {128, 1},
	  .scale_2 = 7168 * 1024 + 7168 * 128}},
	{"dequantise: MXFP4 [5760, 2880]",
	 32,
	 5760 * 1440 + 5760 * 90,
	 2 * 5760 * 2880,
	 {.kind = WLOAD_STEP_DEQUANTISE_MXFP4,
	  .from = U8,
	  .to = BF16,
	  .scale_dtype = E8M0,
	  .size = {5760, 2880, 1, 1, 1, 1},
	  .in_stride = {2880, 1},
	  .out_stride = {2880, 1},
	  .block = {1, 32, 1, 1, 1, 1},
	  .scale = 5760 * 1440,
	  .scale_stride = {90, 1}}},
	{"dequantise: MXFP4, transposed [5760, 2880]",
	 32,
	 5760 * 1440 + 5760 * 90,
	 2 * 5760 * 2880,
	 {.kind = WLOAD_STEP_DEQUANTISE_MXFP4,
	  .from = U8,
	  .to = BF16,
	  .scale_dtype = E8M0,
	  .size = {2880, 5760, 1, 1, 1, 1},
	  .in_stride = {1, 2880},
	  .out_stride = {5760, 1},
	  .block = {32, 1, 1, 1, 1, 1},
	  .scale = 5760 * 1440,
	  .scale_stride = {1, 90}}},
	{"requantise: FP8 [7168, 2048]",
	 32,
	 7168 * 2048 + 32,
	 7168 * 2048,
	 {.kind = WLOAD_STEP_REQUANTISE_FP8,
	  .from = F8,
	  .to = F8,
	  .scale_dtype = F32,
	  .size = {7168, 2048, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = ONES,
	  .scale = 7168 * 2048,
	  .scale_2 = 7168 * 2048 + 16,
	  .reduce = 2,
	  .reduce_stride = 1}},
	{"requantise: NVFP4 [1536, 7168]",
	 64,
	 1536 * 3584 + 1536 * 448 + 32,
	 1536 * 3584,
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT,
	  .from = U8,
	  .to = U8,
	  .scale_dtype = F8,
	  .size = {1536, 7168, 1, 1, 1, 1},
	  .in_stride = {7168, 1},
	  .out_stride = {7168, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale = 1536 * 3584,
	  .scale_stride = {448, 1},
	  .scale_2 = 1536 * 3584 + 1536 * 448,
	  .all_scale_2 = 1536 * 3584 + 1536 * 448 + 16,
	  .reduce = 2,
	  .reduce_stride = 1}},
	{"requantise: NVFP4's scales of [1536, 7168]",
	 64,
	 1536 * 3584 + 1536 * 448 + 32,
	 1536 * 448,
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_SCALE,
	  .from = F8,
	  .to = F8,
	  .scale_dtype = F8,
	  .size = {1536, 448, 1, 1, 1, 1},
	  .in_stride = {7168, 16},
	  .out_stride = {448, 1},
	  .block = ONES,
	  .scale = 1536 * 3584,
	  .scale_stride = {448, 1},
	  .scale_2 = 1536 * 3584 + 1536 * 448,
	  .all_scale_2 = 1536 * 3584 + 1536 * 448 + 16,
	  .reduce = 2,
	  .reduce_stride = 1}},
};

struct gpu {
	struct device *device;
	struct device_queue *queue;
	double copy_rate; /* bytes read and written a second */
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int r, const struct wload_error *err)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "kernelrate: %s\n", err->text);
	exit(EXIT_FAILURE);
}

static void must_cuda(cudaError_t e, const char *call)
{
	if (e == cudaSuccess)
		return;
	(void)fprintf(stderr, "kernelrate: %s: %s\n", call, cudaGetErrorString(e));
	exit(EXIT_FAILURE);
}

/* Fills memory of the device with bytes of no pattern: what is looked up, or saved by toggling
 * nothing, depends on them. */
static void fill(uint8_t *there, uint64_t bytes)
{
	static uint8_t some[1 << 20];
	uint64_t x = 88172645463325252;

	for (size_t i = 0; some[0] == 0 && i < sizeof(some); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		some[i] = (uint8_t)(x >> 32 | 1);
	}
	for (uint64_t at = 0; at < bytes; at += sizeof(some)) {
		uint64_t rest = bytes - at;

		must_cuda(cudaMemcpy(there + at, some, rest < sizeof(some) ? rest : sizeof(some),
				     cudaMemcpyHostToDevice),
			  "cudaMemcpy");
	}
}

/* A step's single scales: its own is not the largest, so that its bytes change. */
static void set_scales(uint8_t *staged, const struct wload_step *step)
{
	static const float own = 0.0123f, all[2] = {0.01f, 0.02f};
	bool fp8 = step->kind == WLOAD_STEP_REQUANTISE_FP8;
	uint64_t own_at = fp8 ? step->scale : step->scale_2;
	uint64_t all_at = fp8 ? step->scale_2 : step->all_scale_2;

	if (step->kind == WLOAD_STEP_DEQUANTISE_NVFP4 || step->reduce)
		must_cuda(cudaMemcpy(staged + own_at, &own, sizeof(own), cudaMemcpyHostToDevice),
			  "cudaMemcpy of a scale");
	if (step->reduce)
		must_cuda(cudaMemcpy(staged + all_at, all, sizeof(all), cudaMemcpyHostToDevice),
			  "cudaMemcpy of scales");
}

/* The queue holds the device's context on this thread, so that plain calls are of the device. */
static void measure_copy(struct gpu *gpu)
{
	void *from, *to;
	double best = 0;

	must_cuda(cudaMalloc(&from, COPY_BYTES), "cudaMalloc");
	must_cuda(cudaMalloc(&to, COPY_BYTES), "cudaMalloc");
	fill(from, COPY_BYTES);
	must_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
	for (int i = 0; i < RUNS; i++) {
		double begin = now(), seconds;

		for (int k = 0; k < COPY_RUNS; k++)
			must_cuda(cudaMemcpyAsync(to, from, COPY_BYTES, cudaMemcpyDeviceToDevice,
						  NULL),
				  "cudaMemcpyAsync");
		must_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
		seconds = (now() - begin) / COPY_RUNS;
		best = i == 0 || seconds < best ? seconds : best;
	}
	must_cuda(cudaFree(from), "cudaFree");
	must_cuda(cudaFree(to), "cudaFree");
	gpu->copy_rate = 2.0 * (double)COPY_BYTES / best;
	printf("{\"name\": \"copy: device to device\", \"device\": \"%s\", \"read\": %zu, "
	       "\"written\": %zu, \"seconds\": %.6f, \"bytes_per_second\": %.0f}\n",
	       gpu->device->label, COPY_BYTES, COPY_BYTES, best, gpu->copy_rate);
}

static struct wload_step *steps_of(const struct row *row, uint64_t each)
{
	struct wload_step *steps = calloc(row->steps, sizeof(*steps));

	for (uint32_t k = 0; steps && k < row->steps; k++) {
		steps[k] = row->step;
		steps[k].name = "bench";
		steps[k].in += k * each;
		steps[k].scale += k * each;
		steps[k].scale_2 += k * each;
		steps[k].all_scale_2 += k * each;
		steps[k].out += k * row->bytes;
	}
	return steps;
}

static void measure(const struct gpu *gpu, const struct row *row)
{
	const struct device_ops *ops = gpu->device->ops;
	uint64_t each = (row->staged + 15) / 16 * 16;
	/* of rows that are cut out of longer ones only those are read */
	uint64_t read = row->step.kind == WLOAD_STEP_MOVE ? row->bytes : row->staged;
	struct wload_param param = {.name = row->name,
				    .steps = steps_of(row, each),
				    .step_count = row->steps,
				    .bytes = row->steps * row->bytes,
				    .staged_bytes = row->steps * each};
	struct wload_error err = {0};
	void *staged, *base;
	double best = 0, bytes = (double)row->steps * (double)(read + row->bytes);

	if (!param.steps)
		must(wload_fail(&err, ENOMEM, "no memory for %u steps", row->steps), &err);
	must(ops->alloc(gpu->device, param.staged_bytes, false, &staged, &err), &err);
	must(ops->alloc(gpu->device, param.bytes, false, &base, &err), &err);
	fill(staged, param.staged_bytes);
	for (uint32_t k = 0; k < row->steps; k++)
		set_scales(staged, &param.steps[k]);
	must_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
	for (int i = 0; i < RUNS; i++) {
		double begin = now(), seconds;

		must(ops->transform(gpu->queue, &param, staged, base, &err), &err);
		seconds = now() - begin;
		best = i == 0 || seconds < best ? seconds : best;
	}
	printf("{\"name\": \"%s\", \"steps\": %u, \"read\": %" PRIu64 ", \"written\": %" PRIu64
	       ", \"seconds\": %.6f, \"bytes_per_second\": %.0f, \"share\": %.3f}\n",
	       row->name, row->steps, row->steps * read, param.bytes, best, bytes / best,
	       bytes / best / gpu->copy_rate);
	ops->free(gpu->device, staged, param.staged_bytes, false);
	ops->free(gpu->device, base, param.bytes, false);
	free((void *)param.steps);
}

int main(int argc, char **argv)
{
	struct device_choice choice;
	struct wload_error err = {0};
	struct gpu gpu = {0};
	int r = device_choose(argc > 1 ? argv[1] : "cuda", &choice, &err);

	if (r == 0 && choice.ops->kind != WLOAD_DEVICE_CUDA)
		r = wload_fail(&err, EINVAL, "'%s' is no GPU", argv[1]);
	if (r == 0)
		r = device_open(&choice, &gpu.device, &err);
	if (r == -ENODEV) {
		(void)fprintf(stderr, "kernelrate: %s\n", err.text);
		return EXIT_SKIP;
	}
	must(r, &err);
	must(gpu.device->ops->queue_open(gpu.device, 0, &gpu.queue, &err), &err);
	measure_copy(&gpu);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		measure(&gpu, &rows[i]);
	gpu.device->ops->queue_close(gpu.queue);
	device_close(gpu.device);
	return 0;
}
