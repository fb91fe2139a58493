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
#include "gpu_steps_rows.h"
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
