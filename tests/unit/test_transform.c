/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on the host: against an interpreter that makes each element by itself, all at once and by
 * windows; and how much a window reads. SEED=N takes another seed, COUNT=N more parameters. */

#include <errno.h>

#include "loader/transform/transform.h"
#include "random_steps.h"
#include "tap.h"

struct staged {
	const uint8_t *bytes; /* NULL: all zero */
	uint64_t count;
	uint64_t read, largest; /* bytes, of all reads and of the largest */
	uint64_t calls;
	bool past;
};

static int read_staged(void *ctx, uint64_t offset, size_t piece, size_t rows, uint64_t stride,
		       uint8_t *buf, struct wload_error *err)
{
	struct staged *s = ctx;

	if (offset + (rows - 1) * stride + piece > s->count) {
		s->past = true;
		return wload_fail(err, ERANGE, "past the staged bytes");
	}
	for (size_t i = 0; i < rows; i++) {
		if (s->bytes)
			memcpy(buf + i * piece, s->bytes + offset + i * stride, piece);
		else
			memset(buf + i * piece, 0, piece);
	}
	s->read += piece * rows;
	s->largest = piece * rows > s->largest ? piece * rows : s->largest;
	s->calls++;
	return 0;
}

static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t n)
{
	uint64_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* Windows of all lengths; that none writes outside itself, a byte at either end tells. */
static bool windows_agree(struct random_state *r, const struct random_param *p)
{
	uint8_t *out = malloc(p->param.bytes + 2);
	bool good = true;

	for (int k = 0; good && k < 12; k++) {
		struct staged staged = {.bytes = p->staged, .count = p->param.staged_bytes};
		uint64_t lo = random_below(r, p->param.bytes), hi;
		struct wload_error err = {0};

		hi = lo + 1 + random_below(r, k % 2 ? p->param.bytes - lo : 9);
		hi = hi > p->param.bytes ? p->param.bytes : hi;
		out[0] = out[hi - lo + 1] = 0xa5;
		good = transform_window(&p->param, lo, hi, read_staged, &staged, out + 1, &err) ==
			       0 &&
		       memcmp(out + 1, p->want + lo, hi - lo) == 0 && out[0] == 0xa5 &&
		       out[hi - lo + 1] == 0xa5;
		if (!good)
			printf("# window [%" PRIu64 ", %" PRIu64 "): %s, differs at %" PRIu64 "\n",
			       lo, hi, err.text, first_difference(out + 1, p->want + lo, hi - lo));
	}
	free(out);
	return good;
}

static bool run_agrees(const struct random_param *p)
{
	uint8_t *out = malloc(p->param.bytes + 1);
	struct wload_error err = {0};
	bool good;

	memset(out, p->param.zeroed ? 0xa5 : 0, p->param.bytes + 1);
	good = transform_run(&p->param, p->staged, out, &err) == 0 &&
	       memcmp(out, p->want, p->param.bytes) == 0;
	if (!good)
		printf("# %s, differs at %" PRIu64 " of %" PRIu64 "\n", err.text,
		       first_difference(out, p->want, p->param.bytes), p->param.bytes);
	free(out);
	return good;
}

static void test_random(struct tap *t)
{
	const char *seed = getenv("SEED"), *wanted = getenv("COUNT");
	struct random_state r = {seed ? strtoull(seed, NULL, 0) : 20261126};
	int count = wanted ? atoi(wanted) : 1500, good = 0;

	for (int i = 0; i < count; i++) {
		struct random_param p;
		bool same;

		random_param(&r, &p);
		same = run_agrees(&p) && windows_agree(&r, &p);
		if (!same && good == i) {
			printf("# parameter %d\n", i);
			random_describe(&p);
		}
		good += same;
		random_param_free(&p);
	}
	ok(t, good == count, "%d of %d random parameters, whole and in windows (seed %s)", good,
	   count, seed ? seed : "20261126");
}

/* out [columns][rows] <- in [rows][columns] */
static struct wload_step transpose(enum wload_dtype dtype, uint64_t rows, uint64_t columns)
{
	return (struct wload_step){.kind = WLOAD_STEP_MOVE,
				   .name = "transpose",
				   .from = dtype,
				   .to = dtype,
				   .size = {columns, rows, 1, 1, 1, 1},
				   .in_stride = {1, columns},
				   .out_stride = {rows, 1},
				   .block = {1, 1, 1, 1, 1, 1}};
}

/* Matrices of bytes of all shapes about the size of a block, and of a tile; rows of both sides are
 * longer than what is moved of them, and what is between stays as it is. */
static bool bytes_agree(uint64_t rows, uint64_t columns, uint8_t *in, uint8_t *out, uint8_t *want)
{
	struct wload_step step = transpose(WLOAD_DTYPE_U8, rows, columns);
	struct wload_param param = {.name = "w", .steps = &step, .step_count = 1};
	uint64_t in_pitch = columns + rows % 3, out_pitch = rows + columns % 4;
	struct wload_error err = {0};

	step.in_stride[1] = in_pitch;
	step.out_stride[0] = out_pitch;
	step.in = columns % 5;
	step.out = rows % 7;
	param.bytes = step.out + columns * out_pitch;
	param.staged_bytes = step.in + rows * in_pitch;
	memset(out, 0xa5, param.bytes);
	memset(want, 0xa5, param.bytes);
	for (uint64_t i = 0; i < rows; i++)
		for (uint64_t k = 0; k < columns; k++)
			want[step.out + k * out_pitch + i] = in[step.in + i * in_pitch + k];
	return transform_run(&param, in, out, &err) == 0 && memcmp(out, want, param.bytes) == 0;
}

static void test_bytes(struct tap *t)
{
	static const uint64_t large[] = {1, 7, 8, 63, 64, 65, 127, 130, 513};
	size_t most = 600 * 600, good = 0, larges = sizeof(large) / sizeof(large[0]);
	uint8_t *in = malloc(most), *out = malloc(most), *want = malloc(most);
	struct random_state r = {7};

	random_bytes(&r, in, most);
	for (uint64_t rows = 1; rows <= 33; rows++)
		for (uint64_t columns = 1; columns <= 33; columns++)
			good += bytes_agree(rows, columns, in, out, want);
	for (size_t i = 0; i < larges; i++)
		for (size_t k = 0; k < larges; k++)
			good += bytes_agree(large[i], large[k], in, out, want);
	ok(t, good == 33 * 33 + larges * larges, "%zu transposed matrices of bytes", good);
	free(in);
	free(out);
	free(want);
}

static const struct reading {
	const char *name;
	uint64_t rows, columns, lo, bytes, most; /* most: bytes read */
} readings[] = {
	{"1 MiB of a transposed matrix of 168 MB", 5120, 16384, 40 << 20, 1 << 20, 1100000},
	{"8 MiB of it", 5120, 16384, 41 << 20, 8 << 20, 8500000},
	{"one element", 5120, 16384, 1 << 20, 2, 2},
	{"the second byte of one, the first of the next", 5120, 16384, (1 << 20) + 1, 2, 4},
	{"a row of what is made, and gaps where a piece is small", 64, 1024, 0, 128, 64 * 2048},
};

static void test_reading(struct tap *t)
{
	for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
		const struct reading *row = &readings[i];
		struct wload_step step = transpose(WLOAD_DTYPE_BF16, row->rows, row->columns);
		struct wload_param param = {.name = "w",
					    .steps = &step,
					    .step_count = 1,
					    .bytes = 2 * row->rows * row->columns};
		struct staged staged = {.count = param.bytes};
		uint8_t *out = malloc(row->bytes);
		struct wload_error err = {0};
		int r = transform_window(&param, row->lo, row->lo + row->bytes, read_staged,
					 &staged, out, &err);

		ok(t,
		   r == 0 && staged.read <= row->most && staged.read >= row->bytes &&
			   staged.largest <= 1 << 20,
		   "%s: %" PRIu64 " bytes read in %" PRIu64 " calls, at most %" PRIu64 " at once",
		   row->name, staged.read, staged.calls, staged.largest);
		free(out);
	}
}

/* What a window reads is cut into slabs: one that needs several, value for value. */
static void test_slabs(struct tap *t)
{
	struct wload_step step = transpose(WLOAD_DTYPE_BF16, 1500, 1201);
	struct wload_param param = {
		.name = "w", .steps = &step, .step_count = 1, .bytes = 4 * 1500 * 1201 + 8};
	struct staged staged = {.count = 2 * 1500 * 1201};
	struct random_state r = {5};
	uint8_t *in = malloc(staged.count), *want = calloc(1, param.bytes);
	uint8_t *out = malloc(param.bytes);
	struct wload_error err = {0};
	int code;

	step.kind = WLOAD_STEP_CAST;
	step.to = WLOAD_DTYPE_F32;
	step.out = 6;
	param.zeroed = true;
	random_bytes(&r, in, staged.count);
	naive_step(&step, in, want);
	staged.bytes = in;
	code = transform_window(&param, 1, param.bytes, read_staged, &staged, out, &err);
	ok(t, code == 0 && staged.calls >= 4 && memcmp(out, want + 1, param.bytes - 1) == 0,
	   "a window of %" PRIu64 " reads, value for value", staged.calls);
	free(in);
	free(want);
	free(out);
}

static void test_failures(struct tap *t)
{
	struct wload_step step = {.kind = WLOAD_STEP_EQUAL,
				  .name = "equal",
				  .from = WLOAD_DTYPE_F32,
				  .to = WLOAD_DTYPE_F32,
				  .size = {1, 1, 1, 1, 1, 1},
				  .reduce = 3,
				  .reduce_stride = 4};
	struct wload_param param = {
		.name = "m.input_scale", .steps = &step, .step_count = 1, .bytes = 4};
	float values[9] = {0.5f, 0, 0, 0, 0.5f, 0, 0, 0, 0.25f};
	struct staged staged = {.bytes = (const uint8_t *)values, .count = sizeof(values)};
	struct wload_error err = {0};
	uint8_t out[4];
	int r = transform_run(&param, staged.bytes, out, &err);

	ok(t, r == -EBADMSG && strstr(err.text, "m.input_scale") && strstr(err.text, "3 of 3"),
	   "equal: unequal values are told: %s", err.text);
	err.text[0] = '\0';
	r = transform_window(&param, 0, 4, read_staged, &staged, out, &err);
	ok(t, r == -EBADMSG && strstr(err.text, "m.input_scale"), "equal: in a window too");
	staged.count = 5;
	r = transform_window(&param, 1, 2, read_staged, &staged, out, &err);
	ok(t, r == -ERANGE && strcmp(err.text, "past the staged bytes") == 0,
	   "what the reader says is passed on");
}

int main(void)
{
	struct tap t = {0};

	test_random(&t);
	test_bytes(&t);
	test_reading(&t);
	test_slabs(&t);
	test_failures(&t);
	return tap_done(&t);
}
