/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on the GPU against steps on the host, byte for byte.
 *
 *   gpu_steps             SEED=N takes another seed, COUNT=N more random parameters
 *
 * Random parameters of all kinds, with odd sizes, gaps and strides, and large ones that take every
 * kernel through many blocks and both ways to read (words, elements). TAP; exit 77 without a GPU.
 */

#include <errno.h>

#include "../unit/random_steps.h"
#include "../unit/tap.h"
#include "loader/device/device.h"
#include "loader/transform/transform.h"

#define EXIT_SKIP     77
#define COUNT_DEFAULT 1000

struct gpu {
	struct device *device;
	struct device_queue *queue;
};

static int gpu_open(struct gpu *gpu, struct wload_error *err)
{
	struct device_choice choice;
	int r = device_choose("cuda", &choice, err);

	if (r == 0)
		r = device_open(&choice, &gpu->device, err);
	return r < 0 ? r : gpu->device->ops->queue_open(gpu->device, 1, &gpu->queue, err);
}

static void gpu_close(struct gpu *gpu)
{
	gpu->device->ops->queue_close(gpu->queue);
	device_close(gpu->device);
}

/* Runs a parameter's steps on the GPU; what no step writes begins as 0xa5. */
static int gpu_run(const struct gpu *gpu, const struct wload_param *param, const uint8_t *staged,
		   uint8_t *out, struct wload_error *err)
{
	const struct device_ops *ops = gpu->device->ops;
	void *from = NULL, *to = NULL;
	int r = ops->alloc(gpu->device, param->staged_bytes, true, &from, err);

	if (r == 0)
		r = ops->alloc(gpu->device, param->bytes, true, &to, err);
	if (r == 0)
		r = ops->copy_in(gpu->queue, from, 0, staged, param->staged_bytes, err);
	if (r == 0)
		r = ops->copy_in(gpu->queue, to, 0, out, param->bytes, err);
	if (r == 0)
		r = ops->mark(gpu->queue, 0, err);
	if (r == 0)
		r = ops->wait(gpu->queue, 0, err);
	if (r == 0)
		r = ops->transform(gpu->queue, param, from, to, err);
	if (r == 0)
		r = ops->copy_out(gpu->queue, out, to, 0, param->bytes, err);
	ops->free(gpu->device, from, param->staged_bytes, true);
	ops->free(gpu->device, to, param->bytes, true);
	return r;
}

static bool agrees(const struct gpu *gpu, const struct wload_param *param, const uint8_t *staged)
{
	uint8_t *host = malloc(param->bytes), *device = malloc(param->bytes);
	struct wload_error err = {0};
	uint64_t at = 0;
	int r;

	memset(host, 0xa5, param->bytes);
	memset(device, 0xa5, param->bytes);
	r = transform_run(param, staged, host, &err);
	if (r == 0)
		r = gpu_run(gpu, param, staged, device, &err);
	while (r == 0 && at < param->bytes && host[at] == device[at])
		at++;
	if (r < 0 || at < param->bytes)
		printf("# %s; byte %" PRIu64 " of %" PRIu64 ": host 0x%02x, GPU 0x%02x\n", err.text,
		       at, param->bytes, r ? 0 : host[at], r ? 0 : device[at]);
	free(host);
	free(device);
	return r == 0 && at == param->bytes;
}

static void test_random(struct tap *t, const struct gpu *gpu)
{
	const char *seed = getenv("SEED"), *wanted = getenv("COUNT");
	struct random_state r = {seed ? strtoull(seed, NULL, 0) : 20261126};
	int count = wanted ? atoi(wanted) : COUNT_DEFAULT, good = 0;

	for (int i = 0; i < count; i++) {
		struct random_param p;
		bool same;

		random_param(&r, &p);
		same = agrees(gpu, &p.param, p.staged);
		if (!same && good == i) {
			printf("# parameter %d\n", i);
			random_describe(&p);
		}
		good += same;
		random_param_free(&p);
	}
	ok(t, good == count, "%d of %d random parameters (seed %s)", good, count,
	   seed ? seed : "20261126");
}

#define BF16 WLOAD_DTYPE_BF16
#define F8   WLOAD_DTYPE_F8_E4M3
#define U8   WLOAD_DTYPE_U8
#define ONES                     \
	{                        \
		1, 1, 1, 1, 1, 1 \
	}

/* Single steps that are large; `copies` of each, as a stack of experts has them. */
static const struct large {
	const char *name;
	uint32_t copies;
	uint64_t staged, bytes; /* of one */
	struct wload_step step;
} larges[] = {
	{"kv_b: 16 heads of [128, 512] transposed",
	 1,
	 2 * 16 * 256 * 512,
	 2 * 16 * 512 * 128,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {16, 512, 128, 1, 1, 1},
	  .in_stride = {256 * 512, 1, 512},
	  .out_stride = {512 * 128, 128, 1},
	  .block = ONES}},
	{"a transpose of bytes, sides that are no multiple of a tile",
	 3,
	 1001 * 1533 + 16,
	 1001 * 1533,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = U8,
	  .to = U8,
	  .size = {1533, 1001, 1, 1, 1, 1},
	  .in_stride = {1, 1533},
	  .out_stride = {1001, 1},
	  .block = ONES}},
	{"a transpose of BF16, odd sides",
	 3,
	 2 * 1001 * 1533,
	 2 * 1001 * 1533,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {1533, 1001, 1, 1, 1, 1},
	  .in_stride = {1, 1533},
	  .out_stride = {1001, 1},
	  .block = ONES}},
	{"a transpose of F32",
	 1,
	 4 * 1000 * 700,
	 4 * 1000 * 700,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = WLOAD_DTYPE_F32,
	  .to = WLOAD_DTYPE_F32,
	  .size = {700, 1000, 1, 1, 1, 1},
	  .in_stride = {1, 700},
	  .out_stride = {1000, 1},
	  .block = ONES}},
	{"a transpose of F64",
	 1,
	 8 * 500 * 300,
	 8 * 500 * 300,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = WLOAD_DTYPE_F64,
	  .to = WLOAD_DTYPE_F64,
	  .size = {300, 500, 1, 1, 1, 1},
	  .in_stride = {1, 300},
	  .out_stride = {500, 1},
	  .block = ONES}},
	{"rows that are far apart",
	 128,
	 2 * 64 * 2048,
	 2 * 64 * 1024,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {64, 1024, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {1024, 1},
	  .block = ONES}},
	{"each second element",
	 1,
	 2 * 1024 * 2048,
	 2 * 1024 * 1024,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = BF16,
	  .to = BF16,
	  .size = {1024, 1024, 1, 1, 1, 1},
	  .in_stride = {2048, 2},
	  .out_stride = {1024, 1},
	  .block = ONES}},
	{"swizzled scales",
	 4,
	 512 * 448,
	 512 * 448,
	 {.kind = WLOAD_STEP_MOVE,
	  .from = F8,
	  .to = F8,
	  .size = {4, 112, 32, 4, 4, 1},
	  .in_stride = {128 * 448, 4, 448, 32 * 448, 1},
	  .out_stride = {112 * 512, 512, 16, 4, 1},
	  .block = ONES}},
	{"F32 to BF16",
	 2,
	 4 * 1000003,
	 2 * 1000003,
	 {.kind = WLOAD_STEP_CAST,
	  .from = WLOAD_DTYPE_F32,
	  .to = BF16,
	  .size = {1000003, 1, 1, 1, 1, 1},
	  .in_stride = {1},
	  .out_stride = {1},
	  .block = ONES}},
	{"BF16 to F16",
	 1,
	 2 * 1000000,
	 2 * 1000000,
	 {.kind = WLOAD_STEP_CAST,
	  .from = BF16,
	  .to = WLOAD_DTYPE_F16,
	  .size = {1000000, 1, 1, 1, 1, 1},
	  .in_stride = {1},
	  .out_stride = {1},
	  .block = ONES}},
	{"FP8 of blocks of 128 to BF16",
	 2,
	 1024 * 1056 + 4 * 8 * 16,
	 2 * 1024 * 1056,
	 {.kind = WLOAD_STEP_DEQUANTISE_FP8,
	  .from = F8,
	  .to = BF16,
	  .scale_dtype = WLOAD_DTYPE_F32,
	  .size = {1024, 1056, 1, 1, 1, 1},
	  .in_stride = {1056, 1},
	  .out_stride = {1056, 1},
	  .block = {128, 128, 1, 1, 1, 1},
	  .scale = 1024 * 1056,
	  .scale_stride = {9, 1}}},
	{"NVFP4 to BF16",
	 64,
	 128 * 2048 / 2 + 128 * 128 + 16,
	 2 * 128 * 2048,
	 {.kind = WLOAD_STEP_DEQUANTISE_NVFP4,
	  .from = U8,
	  .to = BF16,
	  .scale_dtype = F8,
	  .size = {128, 2048, 1, 1, 1, 1},
	  .in_stride = {2048, 1},
	  .out_stride = {2048, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale = 128 * 1024,
	  .scale_stride = {128, 1},
	  .scale_2 = 128 * 1024 + 128 * 128}},
	{"MXFP4 to BF16",
	 8,
	 256 * 2880 / 2 + 256 * 96,
	 2 * 256 * 2880,
	 {.kind = WLOAD_STEP_DEQUANTISE_MXFP4,
	  .from = U8,
	  .to = BF16,
	  .scale_dtype = WLOAD_DTYPE_F8_E8M0,
	  .size = {256, 2880, 1, 1, 1, 1},
	  .in_stride = {2880, 1},
	  .out_stride = {2880, 1},
	  .block = {1, 32, 1, 1, 1, 1},
	  .scale = 256 * 1440,
	  .scale_stride = {90, 1}}},
	{"FP8 requantised",
	 1,
	 1024 * 1024 + 64,
	 1024 * 1024,
	 {.kind = WLOAD_STEP_REQUANTISE_FP8,
	  .from = F8,
	  .to = F8,
	  .scale_dtype = WLOAD_DTYPE_F32,
	  .size = {1024, 1024, 1, 1, 1, 1},
	  .in_stride = {1024, 1},
	  .out_stride = {1024, 1},
	  .block = ONES,
	  .scale = 1024 * 1024,
	  .scale_2 = 1024 * 1024,
	  .reduce = 3,
	  .reduce_stride = 4}},
	{"NVFP4 requantised: elements",
	 1,
	 1024 * 512 + 1024 * 64 + 64,
	 1024 * 512,
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT,
	  .from = U8,
	  .to = U8,
	  .scale_dtype = F8,
	  .size = {1024, 1024, 1, 1, 1, 1},
	  .in_stride = {1024, 1},
	  .out_stride = {1024, 1},
	  .block = {1, 16, 1, 1, 1, 1},
	  .scale = 1024 * 512,
	  .scale_stride = {64, 1},
	  .scale_2 = 1024 * 512 + 1024 * 64,
	  .all_scale_2 = 1024 * 512 + 1024 * 64,
	  .reduce = 2,
	  .reduce_stride = 4}},
	{"NVFP4 requantised: scales",
	 1,
	 1024 * 512 + 1024 * 64 + 64,
	 1024 * 64,
	 {.kind = WLOAD_STEP_REQUANTISE_NVFP4_SCALE,
	  .from = F8,
	  .to = F8,
	  .scale_dtype = F8,
	  .size = {1024, 64, 1, 1, 1, 1},
	  .in_stride = {1024, 16},
	  .out_stride = {64, 1},
	  .block = ONES,
	  .scale = 1024 * 512,
	  .scale_stride = {64, 1},
	  .scale_2 = 1024 * 512 + 1024 * 64,
	  .all_scale_2 = 1024 * 512 + 1024 * 64,
	  .reduce = 2,
	  .reduce_stride = 4}},
	{"the largest of pairs, which the host picks",
	 256,
	 16,
	 4,
	 {.kind = WLOAD_STEP_MAX,
	  .from = WLOAD_DTYPE_F32,
	  .to = WLOAD_DTYPE_F32,
	  .size = ONES,
	  .block = ONES,
	  .reduce = 2,
	  .reduce_stride = 2}},
};

/* Numbers that scales have: the first of each 16 bytes of what is behind the elements. */
static void tame(const struct large *row, uint8_t *staged)
{
	static const float scales[] = {0.25f, 0.0123f, 3.0f, 1e-3f};
	uint64_t from = row->step.scale_2 ? row->step.scale_2 : row->step.scale;

	for (uint64_t i = from;
	     from && row->step.scale_dtype != WLOAD_DTYPE_F8_E8M0 && i + 4 <= row->staged; i += 4)
		memcpy(staged + i, &scales[i / 4 % 4], 4);
}

static void test_large(struct tap *t, const struct gpu *gpu, const struct large *row)
{
	struct wload_step *steps = calloc(row->copies, sizeof(*steps));
	uint64_t each = (row->staged + 15) / 16 * 16;
	struct wload_param param = {.name = row->name,
				    .steps = steps,
				    .step_count = row->copies,
				    .bytes = row->copies * row->bytes,
				    .staged_bytes = row->copies * each};
	uint8_t *staged = malloc(param.staged_bytes);
	struct random_state r = {7};

	for (uint64_t i = 0; i < param.staged_bytes; i++)
		staged[i] = (uint8_t)random_next(&r);
	for (uint32_t k = 0; k < row->copies; k++) {
		struct wload_step *s = &steps[k];

		*s = row->step;
		s->name = "large";
		s->in += k * each;
		s->scale += k * each;
		s->scale_2 += k * each;
		s->all_scale_2 += k * each;
		s->out = k * row->bytes;
		tame(row, staged + k * each);
	}
	ok(t, agrees(gpu, &param, staged), "%s, %u steps", row->name, row->copies);
	free(staged);
	free(steps);
}

static void test_unequal(struct tap *t, const struct gpu *gpu)
{
	struct wload_step step = {.kind = WLOAD_STEP_EQUAL,
				  .name = "equal",
				  .from = WLOAD_DTYPE_F32,
				  .to = WLOAD_DTYPE_F32,
				  .size = ONES,
				  .block = ONES,
				  .reduce = 2,
				  .reduce_stride = 4};
	struct wload_param param = {.name = "m.input_scale",
				    .steps = &step,
				    .step_count = 1,
				    .bytes = 4,
				    .staged_bytes = 20};
	float staged[5] = {0.5f, 0, 0, 0, 0.25f};
	struct wload_error err = {0};
	uint8_t out[4];
	int r = gpu_run(gpu, &param, (const uint8_t *)staged, out, &err);

	ok(t, r == -EBADMSG && strstr(err.text, "m.input_scale"), "unequal values are told: %s",
	   err.text);
}

int main(void)
{
	struct gpu gpu = {0};
	struct tap t = {0};
	struct wload_error err = {0};

	if (gpu_open(&gpu, &err) < 0) {
		printf("1..0 # SKIP %s\n", err.text);
		return EXIT_SKIP;
	}
	printf("# %s\n", gpu.device->label);
	for (size_t i = 0; i < sizeof(larges) / sizeof(larges[0]); i++)
		test_large(&t, &gpu, &larges[i]);
	test_unequal(&t, &gpu);
	test_random(&t, &gpu);
	gpu_close(&gpu);
	return tap_done(&t);
}
