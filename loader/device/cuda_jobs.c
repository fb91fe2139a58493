/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "loader/device/cuda_jobs.h"
#include "loader/transform/steps.h"

#define GROUP	   16 /* elements that share a scale of NVFP4 */
#define WORD_BYTES 16
#define TILE_FROM  16 /* indexes; with fewer on a side most of a tile would be empty */
#define FOLD_BELOW 64 /* indexes that fill no side of a tile alone */
#define PAIRS_FROM 16
#define NO_DIM	   WLOAD_STEP_DIMS

/* A step while it becomes a job: dimensions that have more than one index; strides in halves of
 * bytes. */
struct shape {
	const struct wload_step *step;
	unsigned int dims;
	uint64_t size[WLOAD_STEP_DIMS], in_stride[WLOAD_STEP_DIMS], out_stride[WLOAD_STEP_DIMS];
	uint64_t scale_stride[WLOAD_STEP_DIMS], block[WLOAD_STEP_DIMS], begin[WLOAD_STEP_DIMS];
	uint64_t in, out, scale; /* of the first element */
	unsigned int width, out_width;

	/* of tiles: where the last dimension, and the one before it, are two (struct cuda_fold) */
	uint64_t along_inner, along_stride, across_inner, across_stride;
	unsigned int pairs; /* as in struct cuda_job */
	uint64_t pair_stride;
};

static void add_dim(struct shape *s, const struct box *box, const struct grid *in,
		    const struct grid *scale, unsigned int d)
{
	unsigned int k = s->dims++;

	s->size[k] = box->size[d];
	s->begin[k] = box->begin[d];
	s->in_stride[k] = in->stride[d];
	s->out_stride[k] = s->step->out_stride[d] * box_out_width(s->step);
	s->scale_stride[k] = scale->stride[d];
	s->block[k] = s->step->block[d];
}

static struct shape shape_of(const struct wload_step *step)
{
	struct shape s = {
		.step = step, .width = box_in_width(step), .out_width = box_out_width(step)};
	struct box box = box_of(step);
	uint64_t before;
	struct grid in = steps_grid(step, &box, &before), scale = {0};

	if (steps_scaled(step->kind))
		scale = steps_scale_grid(step, &box);
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		if (box.size[d] > 1)
			add_dim(&s, &box, &in, &scale, d);
	if (s.dims == 0)
		add_dim(&s, &box, &in, &scale, WLOAD_STEP_DIMS - 1);
	s.in = in.first + before;
	s.out = steps_out(step, &box);
	s.scale = scale.first;
	return s;
}

static void drop_dim(struct shape *s, unsigned int d)
{
	for (s->dims--; d < s->dims; d++) {
		s->size[d] = s->size[d + 1];
		s->begin[d] = s->begin[d + 1];
		s->in_stride[d] = s->in_stride[d + 1];
		s->out_stride[d] = s->out_stride[d + 1];
		s->scale_stride[d] = s->scale_stride[d + 1];
		s->block[d] = s->block[d + 1];
	}
}

/* Dimensions that are one run of elements on both sides become one; of steps without scales. */
static void merge(struct shape *s)
{
	for (unsigned int d = s->dims - 1; d-- > 0;) {
		unsigned int inner = d + 1;

		if (s->in_stride[d] != s->size[inner] * s->in_stride[inner] ||
		    s->out_stride[d] != s->size[inner] * s->out_stride[inner])
			continue;
		s->size[inner] *= s->size[d];
		s->begin[inner] = 0;
		drop_dim(s, d);
	}
}

static bool fits_word(const struct shape *s, uint64_t halves)
{
	unsigned int last = s->dims - 1;

	if (s->size[last] * s->width % halves || s->in % halves || s->out % halves)
		return false;
	for (unsigned int d = 0; d < last; d++)
		if (s->in_stride[d] % halves || s->out_stride[d] % halves)
			return false;
	return true;
}

/* Rows that are dense on both sides are moved by the longest words that they are made of; one word
 * is no row. */
static void widen(struct shape *s)
{
	unsigned int last = s->dims - 1;
	uint64_t halves = 2 * WORD_BYTES;

	if (s->in_stride[last] != s->width || s->out_stride[last] != s->width)
		return;
	while (halves > s->width && !fits_word(s, halves))
		halves /= 2;
	if (halves <= s->width)
		return;
	s->size[last] = s->size[last] * s->width / halves;
	s->in_stride[last] = s->out_stride[last] = s->width = (unsigned int)halves;
	s->out_width = s->width;
	if (s->size[last] == 1 && s->dims > 1)
		drop_dim(s, last);
}

/* ---- tiles ------------------------------------------------------------------------------------
 */

static bool scaled(const struct shape *s)
{
	for (unsigned int d = 0; d < s->dims; d++)
		if (s->scale_stride[d])
			return true;
	return false;
}

/* A side of a tile: a dimension, or two, of which the inner one's indexes and then the outer one's
 * lie dense. */
struct side {
	unsigned int inner, outer; /* outer: or NO_DIM */
};

/* The dimension of a stride; NO_DIM where there is none, or it is one of `taken`. */
static unsigned int dim_of(const struct shape *s, const uint64_t *strides, uint64_t stride,
			   struct side taken)
{
	for (unsigned int d = 0; d < s->dims; d++)
		if (strides[d] == stride && d != taken.inner && d != taken.outer)
			return d;
	return NO_DIM;
}

/* Gives a short side a second dimension. Elements that share scales are numbered by one. */
static void fold(const struct shape *s, const uint64_t *strides, struct side other,
		 struct side *side)
{
	if (side->inner != NO_DIM && s->size[side->inner] < FOLD_BELOW && !scaled(s))
		side->outer = dim_of(s, strides, s->size[side->inner] * strides[side->inner],
				     (struct side){other.inner, other.outer});
}

static uint64_t side_size(const struct shape *s, struct side side)
{
	return s->size[side.inner] * (side.outer == NO_DIM ? 1 : s->size[side.outer]);
}

static void copy_dim(const struct shape *from, unsigned int d, struct shape *s, unsigned int to)
{
	s->size[to] = from->size[d];
	s->begin[to] = from->begin[d];
	s->in_stride[to] = from->in_stride[d];
	s->out_stride[to] = from->out_stride[d];
	s->scale_stride[to] = from->scale_stride[d];
	s->block[to] = from->block[d];
}

/* Puts the sides of tiles last. */
static void set_sides(struct shape *s, struct side across, struct side along)
{
	struct shape was = *s;

	s->dims = 0;
	for (unsigned int d = 0; d < was.dims; d++)
		if (d != across.inner && d != across.outer && d != along.inner && d != along.outer)
			copy_dim(&was, d, s, s->dims++);
	copy_dim(&was, across.inner, s, s->dims);
	s->across_inner = was.size[across.inner];
	s->across_stride = across.outer == NO_DIM ? 0 : was.out_stride[across.outer];
	s->size[s->dims++] = side_size(&was, across);
	copy_dim(&was, along.inner, s, s->dims);
	s->along_inner = was.size[along.inner];
	s->along_stride = along.outer == NO_DIM ? 0 : was.in_stride[along.outer];
	s->size[s->dims++] = side_size(&was, along);
}

/* Finds what lies dense in what is read, and what in what is written. Returns false when that is
 * the same, or not worth a tile. */
static bool tile(struct shape *s)
{
	struct side none = {NO_DIM, NO_DIM}, along = none, across = none;

	along.inner = dim_of(s, s->out_stride, s->out_width, none);
	across.inner = dim_of(s, s->in_stride, s->width, none);
	if (along.inner == NO_DIM || across.inner == NO_DIM || along.inner == across.inner)
		return false;
	fold(s, s->out_stride, across, &along);
	fold(s, s->in_stride, along, &across);
	if (side_size(s, along) < TILE_FROM || side_size(s, across) < TILE_FROM)
		return false;
	set_sides(s, across, along);
	return true;
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

/* Is each second element of rows wanted, or both apart? */
static bool part_pairs(struct shape *s)
{
	unsigned int last = s->dims - 1, other;

	if (s->width > 8 || s->out_stride[last] != s->width || s->in_stride[last] != 2 * s->width ||
	    s->size[last] < PAIRS_FROM)
		return false;
	other = dim_of(s, s->in_stride, s->width, (struct side){NO_DIM, NO_DIM});
	if (other != NO_DIM && s->size[other] == 2) {
		s->pairs = 3;
		s->pair_stride = s->out_stride[other];
		drop_dim(s, other);
	} else if (s->in % (2 * s->width) == s->width) { /* the second ones */
		s->pairs = 2;
		s->in -= s->width;
	} else {
		s->pairs = 1;
	}
	return true;
}

/* ---- which kernel -----------------------------------------------------------------------------
 */

/* Is a group of NVFP4 one unit, in whole bytes? */
static bool groups_are_dense(const struct shape *s)
{
	unsigned int last = s->dims - 1;

	if (s->block[last] != GROUP || s->size[last] % GROUP || s->begin[last] % GROUP ||
	    s->out_stride[last] != 1 || s->out % 2)
		return false;
	for (unsigned int d = 0; d < last; d++)
		if (s->out_stride[d] % 2)
			return false;
	return true;
}

static void choose_move(struct shape *s, struct cuda_job *job)
{
	merge(s);
	widen(s);
	if (s->width < 2 * WORD_BYTES && tile(s))
		job->kernel = CUDA_TRANSPOSE;
	else
		job->kernel = part_pairs(s) ? CUDA_PAIRS : CUDA_MOVE;
	job->width = s->width / 2;
}

static void choose_values(struct shape *s, enum wload_dtype from, struct cuda_job *job)
{
	job->kernel = tile(s) ? CUDA_VALUES_TILE : CUDA_VALUES;
	job->from = from;
	job->to = s->step->to;
}

/* Chooses the kernel. Returns false when there is none. */
static bool choose(struct shape *s, struct cuda_job *job)
{
	switch (s->step->kind) {
	case WLOAD_STEP_MOVE:
		choose_move(s, job);
		return true;
	case WLOAD_STEP_CAST:
		merge(s);
		choose_values(s, s->step->from, job);
		return true;
	case WLOAD_STEP_DEQUANTISE_FP8:
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
		choose_values(s, s->width == 1 ? WLOAD_DTYPE_F4 : WLOAD_DTYPE_F8_E4M3, job);
		return true;
	case WLOAD_STEP_REQUANTISE_FP8:
		job->kernel = scaled(s) ? CUDA_REQUANTISE_EACH : CUDA_REQUANTISE_FP8;
		if (!scaled(s))
			merge(s);
		return true;
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
		job->kernel = CUDA_REQUANTISE_NVFP4_WEIGHT;
		return groups_are_dense(s);
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		job->kernel = CUDA_REQUANTISE_NVFP4_SCALE;
		return true;
	default:
		return false;
	}
}

static uint64_t ceil_div(uint64_t n, uint64_t d)
{
	return (n + d - 1) / d;
}

/* How many units a dimension has. */
static uint64_t units_of(const struct shape *s, const struct cuda_job *job, unsigned int d)
{
	uint64_t size = s->size[d];
	bool last = d == s->dims - 1;

	switch (job->kernel) {
	case CUDA_TRANSPOSE:
	case CUDA_VALUES_TILE:
		return d + 2 < s->dims ? size : ceil_div(size, CUDA_TILE(s->out_width / 2));
	case CUDA_PAIRS:
		return last ? ceil_div(size, CUDA_PAIRS_UNIT(s->width / 2)) : size;
	case CUDA_VALUES:
		return last ? ceil_div(s->begin[d] % CUDA_VALUES_UNIT + size, CUDA_VALUES_UNIT)
			    : size;
	case CUDA_REQUANTISE_FP8:
		return last ? ceil_div(size, CUDA_BYTES_UNIT) : size;
	case CUDA_REQUANTISE_NVFP4_WEIGHT:
		return last ? size / GROUP : size;
	default:
		return size;
	}
}

static bool count_units(const struct shape *s, struct cuda_job *job)
{
	uint64_t units = 1;

	for (unsigned int d = 0; d < s->dims; d++) {
		uint64_t phase = s->block[d] ? s->begin[d] % s->block[d] : 0;

		units *= units_of(s, job, d);
		if (units > CUDA_JOB_UNITS || s->size[d] > CUDA_JOB_UNITS ||
		    phase > CUDA_JOB_UNITS - s->size[d])
			return false;
	}
	job->units = (uint32_t)units;
	return true;
}

struct cuda_divisor cuda_divisor_of(uint32_t d)
{
	struct cuda_divisor by = {.shift = 31};

	/* 2^(shift - 31) is at least d, and under 2 * d: the magic number has 32 bits, and is over
	 * 2^shift / d by at most 1, which no n below 2^31 can tell (Granlund and Montgomery 1994)
	 */
	while ((uint64_t)1 << (by.shift - 31) < d)
		by.shift++;
	by.magic = (uint32_t)(((uint64_t)1 << by.shift) / d + 1);
	return by;
}

static struct cuda_fold fold_of(uint64_t inner, uint64_t outer_stride)
{
	uint32_t size = outer_stride ? (uint32_t)inner : CUDA_JOB_UNITS;

	return (struct cuda_fold){
		.inner = size, .by = cuda_divisor_of(size), .outer_stride = outer_stride};
}

static void fill_tiles(const struct shape *s, struct cuda_job *job)
{
	if (job->kernel != CUDA_TRANSPOSE && job->kernel != CUDA_VALUES_TILE)
		return;
	job->tiles_across = (uint32_t)units_of(s, job, s->dims - 2);
	job->tiles_along = (uint32_t)units_of(s, job, s->dims - 1);
	job->tiles_across_by = cuda_divisor_of(job->tiles_across);
	job->tiles_along_by = cuda_divisor_of(job->tiles_along);
	job->across = fold_of(s->across_inner, s->across_stride / 2);
	job->along = fold_of(s->along_inner, s->along_stride / (s->width == 1 ? 1 : 2));
}

static void fill_dims(const struct shape *s, struct cuda_job *job)
{
	unsigned int in_unit = s->width == 1 ? 1 : 2; /* 4-bit strides stay as they are */

	job->dims = s->dims;
	for (unsigned int d = 0; d < s->dims; d++) {
		uint64_t block = s->block[d] && s->scale_stride[d] ? s->block[d] : 1;

		job->size[d] = (uint32_t)s->size[d];
		job->in_stride[d] = s->in_stride[d] / in_unit;
		job->out_stride[d] = s->out_stride[d] / 2;
		job->scale_stride[d] = s->scale_stride[d] / 2;
		job->phase[d] = (uint32_t)(s->begin[d] % block);
		if (block > CUDA_JOB_UNITS) /* all indexes share one */
			block = CUDA_JOB_UNITS;
		job->size_by[d] = cuda_divisor_of((uint32_t)units_of(s, job, d));
		job->block_by[d] = cuda_divisor_of((uint32_t)block);
	}
	job->skip = (uint32_t)(s->begin[s->dims - 1] % CUDA_VALUES_UNIT);
	job->pairs = s->pairs;
	job->pair_stride = s->pair_stride / 2;
	fill_tiles(s, job);
}

int cuda_job_of(const struct wload_step *step, const uint8_t *staged, uint8_t *base,
		struct cuda_job *ret_job)
{
	struct cuda_job job = {.in_half = 0};
	struct steps_values values = steps_values(step);
	struct box box = box_of(step);
	struct shape shape;

	if (box_empty(&box))
		return 0;
	shape = shape_of(step);
	if (!choose(&shape, &job) || !count_units(&shape, &job))
		return -EOPNOTSUPP;
	fill_dims(&shape, &job);
	job.in = staged + shape.in / 2;
	job.in_half = (uint32_t)(shape.in % 2);
	job.out = base + shape.out / 2;
	if (steps_scaled(step->kind)) {
		job.scale = staged + shape.scale / 2;
		job.scale_dtype = box_scale_dtype(step);
	}
	if (values.own)
		job.scale_2 = staged + values.own_at;
	if (values.all_count) {
		job.all = staged + values.all_at;
		job.all_count = (uint32_t)values.all_count;
		job.all_stride = values.all_stride;
	}
	*ret_job = job;
	return 1;
}

int cuda_job_compare(const void *left, const void *right)
{
	const struct cuda_job *a = left, *b = right;

	if (a->kernel != b->kernel)
		return a->kernel < b->kernel ? -1 : 1;
	if (a->width != b->width)
		return a->width < b->width ? -1 : 1;
	if (a->from != b->from)
		return a->from < b->from ? -1 : 1;
	return (a->to > b->to) - (a->to < b->to);
}
