/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernel a step gets, by what words, and in how many units: those that models have, and those
 * that no kernel takes. What the kernels make of it, tests/tools/gpu_steps.c asks a GPU. */

#include <errno.h>
#include <string.h>

#include "loader/device/cuda_jobs.h"
#include "tap.h"

#define BF16 WLOAD_DTYPE_BF16
#define F8   WLOAD_DTYPE_F8_E4M3
#define F32  WLOAD_DTYPE_F32
#define U8   WLOAD_DTYPE_U8

/* Addresses that are never followed. */
#define STAGED ((const uint8_t *)0x10000000)
#define BASE   ((uint8_t *)0x20000000)

static const struct row {
	const char *name;
	struct wload_step step;
	int want;
	enum cuda_kernel kernel;
	uint32_t width, dims, units;
	uint64_t in, out; /* of the job, from the two areas' first bytes */
} rows[] = {
	{"rows of a row split: words of 16 bytes",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {64, 1024, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {1024, 1}},
	 1,
	 CUDA_MOVE,
	 16,
	 2,
	 64 * 128,
	 0,
	 0},
	{"rows of 20 bytes: words of 4",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {64, 10, 1, 1, 1, 1},
	  .in_stride = {20, 1},
	  .out_stride = {10, 1}},
	 1,
	 CUDA_MOVE,
	 4,
	 2,
	 64 * 5,
	 0,
	 0},
	{"rows that begin at byte 2: words of 2",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .in = 2,
	  .size = {64, 1024, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {1024, 1}},
	 1,
	 CUDA_MOVE,
	 2,
	 2,
	 64 * 1024,
	 2,
	 0},
	{"what is dense on both sides is one row",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = F8,
	  .to = F8,
	  .out = 256,
	  .size = {8, 1, 16, 32, 1, 1},
	  .in_stride = {512, 0, 32, 1},
	  .out_stride = {512, 0, 32, 1}},
	 1,
	 CUDA_MOVE,
	 16,
	 1,
	 8 * 16 * 32 / 16,
	 0,
	 256},
	{"a transpose: tiles of 64 by 64",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {16, 512, 128, 1, 1, 1},
	  .in_stride = {65536, 1, 512},
	  .out_stride = {65536, 128, 1}},
	 1,
	 CUDA_TRANSPOSE,
	 2,
	 3,
	 16 * 8 * 2,
	 0,
	 0},
	{"a transpose of bytes: tiles of 128 by 128, those at the edges too",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = U8,
	  .to = U8,
	  .size = {1533, 1001, 1, 1, 1, 1},
	  .in_stride = {1, 1533},
	  .out_stride = {1001, 1}},
	 1,
	 CUDA_TRANSPOSE,
	 1,
	 2,
	 12 * 8,
	 0,
	 0},
	{"pairs that are parted: units of 16 bytes that are read",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {2, 2880, 1, 1, 1, 1},
	  .in_stride = {1, 2},
	  .out_stride = {2880, 1}},
	 1,
	 CUDA_PAIRS,
	 2,
	 1,
	 2880 / 4,
	 0,
	 0},
	{"the second of each pair: read from the first on",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .in = 2,
	  .size = {3, 30, 1, 1, 1, 1},
	  .in_stride = {64, 2},
	  .out_stride = {30, 1}},
	 1,
	 CUDA_PAIRS,
	 2,
	 2,
	 3 * 8,
	 0,
	 0},
	{"rows of pairs that are parted and transposed: tiles, of pairs folded",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {2, 360, 320, 1, 1, 1},
	  .in_stride = {1, 2, 720},
	  .out_stride = {360 * 320, 320, 1}},
	 1,
	 CUDA_TRANSPOSE,
	 2,
	 2,
	 12 * 5,
	 0,
	 0},
	{"swizzled scales: tiles of words of 4, rows folded",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = F8,
	  .to = F8,
	  .size = {4, 112, 32, 4, 4, 1},
	  .in_stride = {57344, 4, 448, 14336, 1},
	  .out_stride = {57344, 512, 16, 4, 1}},
	 1,
	 CUDA_TRANSPOSE,
	 4,
	 3,
	 4 * 2 * 2,
	 0,
	 0},
	{"NVFP4 dequantised: units of 16",
	 {.kind = WLOAD_STEP_DEQUANTISE_NVFP4,
	  .from = U8,
	  .to = BF16,
	  .in = 64,
	  .out = 512,
	  .size = {128, 2048, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale_stride = {128, 1}},
	 1,
	 CUDA_VALUES,
	 0,
	 2,
	 128 * 128,
	 64,
	 512},
	{"MXFP4 dequantised and transposed: tiles of what is written",
	 {.kind = WLOAD_STEP_DEQUANTISE_MXFP4,
	  .from = U8,
	  .to = BF16,
	  .size = {2, 2880, 100, 1, 1, 1},
	  .in_stride = {288000, 1, 2880},
	  .out_stride = {288000, 100, 1},
	  .block = {1, 32, 1, 1, 1, 1},
	  .scale_stride = {9000, 1, 90}},
	 1,
	 CUDA_VALUES_TILE,
	 0,
	 3,
	 2 * 45 * 2,
	 0,
	 0},
	{"FP8 requantised by one scale: units of 16",
	 {.kind = WLOAD_STEP_REQUANTISE_FP8,
	  .from = F8,
	  .to = F8,
	  .size = {100, 33, 1, 1, 1, 1},
	  .in_stride = {33, 1},
	  .out_stride = {33, 1},
	  .reduce = 2},
	 1,
	 CUDA_REQUANTISE_FP8,
	 0,
	 1,
	 (3300 + 15) / 16,
	 0,
	 0},
	{"FP8 requantised by several: elements",
	 {.kind = WLOAD_STEP_REQUANTISE_FP8,
	  .from = F8,
	  .to = F8,
	  .size = {100, 33, 1, 1, 1, 1},
	  .in_stride = {33, 1},
	  .out_stride = {33, 1},
	  .block = {50, 33},
	  .scale_stride = {1, 1},
	  .reduce = 2},
	 1,
	 CUDA_REQUANTISE_EACH,
	 0,
	 2,
	 3300,
	 0,
	 0},
	{"a half that begins inside a unit: one more",
	 {.kind = WLOAD_STEP_DEQUANTISE_NVFP4,
	  .from = U8,
	  .to = BF16,
	  .begin = {0, 20},
	  .size = {2, 32, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale_stride = {128, 1}},
	 1,
	 CUDA_VALUES,
	 0,
	 2,
	 2 * 3,
	 10,
	 40},
	{"a place before the parameter that `begin` brings back",
	 {.kind = WLOAD_STEP_CAST,
	  .from = F32,
	  .to = BF16,
	  .in = (uint64_t)0 - 400,
	  .out = (uint64_t)0 - 200,
	  .begin = {100},
	  .size = {64, 1, 1, 1, 1, 1},
	  .in_stride = {1},
	  .out_stride = {1}},
	 1,
	 CUDA_VALUES,
	 0,
	 1,
	 5,
	 0,
	 0},
	{"NVFP4 requantised: groups",
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT,
	  .from = U8,
	  .to = U8,
	  .size = {8, 64, 1, 1, 1, 1},
	  .in_stride = {64, 1},
	  .out_stride = {64, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale_stride = {4, 1},
	  .reduce = 2},
	 1,
	 CUDA_REQUANTISE_NVFP4_WEIGHT,
	 0,
	 2,
	 8 * 4,
	 0,
	 0},
	{"half a group: the host",
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT,
	  .from = U8,
	  .to = U8,
	  .size = {8, 56, 1, 1, 1, 1},
	  .in_stride = {64, 1},
	  .out_stride = {64, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale_stride = {4, 1},
	  .reduce = 2},
	 -EOPNOTSUPP,
	 CUDA_MOVE,
	 0,
	 0,
	 0,
	 0,
	 0},
	{"the largest of some: the host",
	 {.kind = WLOAD_STEP_MAX,
	  .from = F32,
	  .to = F32,
	  .size = {1, 1, 1, 1, 1, 1},
	  .reduce = 2,
	  .reduce_stride = 1},
	 -EOPNOTSUPP,
	 CUDA_MOVE,
	 0,
	 0,
	 0,
	 0,
	 0},
	{"more bytes than units: the host",
	 {.kind = WLOAD_STEP_MOVE,
	  .from = U8,
	  .to = U8,
	  .size = {2, UINT64_C(1) << 31, 1, 1, 1, 1},
	  .in_stride = {1, 3},
	  .out_stride = {UINT64_C(1) << 31, 1}},
	 -EOPNOTSUPP,
	 CUDA_MOVE,
	 0,
	 0,
	 0,
	 0,
	 0},
	{"nothing",
	 {.kind = WLOAD_STEP_MOVE, .from = U8, .to = U8, .size = {0, 5, 1, 1, 1, 1}},
	 0,
	 CUDA_MOVE,
	 0,
	 0,
	 0,
	 0,
	 0},
};

static bool is_wanted(const struct row *row, const struct cuda_job *job)
{
	return job->kernel == row->kernel && job->width == row->width && job->dims == row->dims &&
	       job->units == row->units && job->in == STAGED + row->in &&
	       job->out == BASE + row->out;
}

static void check_row(struct tap *t, const struct row *row)
{
	struct wload_step step = row->step;
	struct cuda_job job = {.units = 0};
	int r;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		step.block[d] = step.block[d] ? step.block[d] : 1;
	r = cuda_job_of(&step, STAGED, BASE, &job);
	ok(t, r == row->want && (r <= 0 || is_wanted(row, &job)),
	   "%s (%d: kernel %d, width %u, %u units)", row->name, r, (int)job.kernel, job.width,
	   job.units);
}

/* Jobs of one launch are neighbours once sorted. */
static void check_order(struct tap *t)
{
	struct cuda_job a = {.kernel = CUDA_MOVE, .width = 16}, b = a, c = a, d = a;

	b.units = 7;
	c.width = 4;
	d.kernel = CUDA_VALUES;
	ok(t, cuda_job_compare(&a, &b) == 0, "order: jobs of one kernel and width are alike");
	ok(t, cuda_job_compare(&a, &c) > 0 && cuda_job_compare(&c, &a) < 0, "order: by width");
	ok(t, cuda_job_compare(&a, &d) < 0 && cuda_job_compare(&d, &c) > 0, "order: by kernel");
}

/* At the ends of what it is for, and where a quotient changes. */
static void check_divisors(struct tap *t)
{
	static const uint32_t divisors[] = {
		1, 2, 3, 5, 7, 16, 90, 641, 5760, 65535, 65537, 0x3fffffff, 0x40000001, 0x7fffffff};
	uint32_t wrong = 0;

	for (size_t i = 0; i < sizeof(divisors) / sizeof(divisors[0]); i++) {
		uint32_t d = divisors[i], most = CUDA_JOB_UNITS / d;
		struct cuda_divisor by = cuda_divisor_of(d);

		for (uint32_t k = 0; k < 40000; k++) {
			uint32_t multiple = (k < 20000 ? k : most - (k - 20000)) * d;

			for (uint32_t n = multiple - 1; n != multiple + 2; n++)
				wrong += n < CUDA_JOB_UNITS &&
					 (uint32_t)((uint64_t)n * by.magic >> by.shift) != n / d;
		}
	}
	ok(t, wrong == 0, "divisors: %u quotients are wrong", wrong);
	ok(t,
	   (uint64_t)(CUDA_JOB_UNITS - 1) * cuda_divisor_of(CUDA_JOB_UNITS).magic >>
			   cuda_divisor_of(CUDA_JOB_UNITS).shift ==
		   0,
	   "divisors: of all units none is a whole");
}

int main(void)
{
	struct tap t = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&t, &rows[i]);
	check_order(&t);
	check_divisors(&t);
	return tap_done(&t);
}
