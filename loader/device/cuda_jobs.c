/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "loader/device/cuda_jobs.h"
#include "loader/transform/steps.h"

#define GROUP	       16 /* elements that share a scale of NVFP4 */
#define WORD_BYTES     16
#define TRANSPOSE_FROM 16 /* indexes; with fewer on a side most of a tile would be empty */

/* A step while it becomes a job: dimensions that have more than one index; strides in halves of
 * bytes. */
struct shape {
	const struct wload_step *step;
	unsigned int dims;
	uint64_t size[WLOAD_STEP_DIMS], in_stride[WLOAD_STEP_DIMS], out_stride[WLOAD_STEP_DIMS];
	uint64_t scale_stride[WLOAD_STEP_DIMS], block[WLOAD_STEP_DIMS], begin[WLOAD_STEP_DIMS];
	uint64_t in, out, scale; /* of the first element */
	unsigned int width;
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
	struct shape s = {.step = step, .width = box_in_width(step)};
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

/* Rows that are dense on both sides are moved by the longest words that they are made of. */
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
}

/* Puts the dimension that lies dense in what is read before the last one, which lies dense in what
 * is written. Returns false when it is not so, or not worth a tile. */
static bool tile(struct shape *s)
{
	unsigned int last = s->dims - 1, across = 0;
	struct shape was = *s;

	if (s->out_stride[last] != s->width || s->in_stride[last] == s->width ||
	    s->size[last] < TRANSPOSE_FROM)
		return false;
	while (across < last &&
	       (s->in_stride[across] != s->width || s->size[across] < TRANSPOSE_FROM))
		across++;
	if (across == last)
		return false;
	drop_dim(s, across);
	s->dims = last + 1;
	s->size[last] = was.size[last];
	s->in_stride[last] = was.in_stride[last];
	s->out_stride[last] = was.out_stride[last];
	s->size[last - 1] = was.size[across];
	s->in_stride[last - 1] = was.in_stride[across];
	s->out_stride[last - 1] = was.out_stride[across];
	return true;
}

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

/* Chooses the kernel. Returns false when there is none. */
static bool choose(struct shape *s, struct cuda_job *job)
{
	switch (s->step->kind) {
	case WLOAD_STEP_MOVE:
		merge(s);
		widen(s);
		job->kernel = tile(s) ? CUDA_TRANSPOSE : CUDA_MOVE;
		job->width = s->width / 2;
		return true;
	case WLOAD_STEP_CAST:
		merge(s);
		job->kernel = CUDA_VALUES;
		job->from = s->step->from;
		job->to = s->step->to;
		return true;
	case WLOAD_STEP_DEQUANTISE_FP8:
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
		job->kernel = CUDA_VALUES;
		job->from = s->width == 1 ? WLOAD_DTYPE_F4 : WLOAD_DTYPE_F8_E4M3;
		job->to = s->step->to;
		return true;
	case WLOAD_STEP_REQUANTISE_FP8:
		job->kernel = CUDA_REQUANTISE_FP8;
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

/* How many units a dimension has. */
static uint64_t units_of(const struct shape *s, const struct cuda_job *job, unsigned int d)
{
	uint64_t side = CUDA_TILE(job->width ? job->width : 1), size = s->size[d];
	bool last = d == s->dims - 1;

	if (job->kernel == CUDA_TRANSPOSE && d + 2 >= s->dims)
		return (size + side - 1) / side;
	if (job->kernel == CUDA_VALUES && last)
		return (s->begin[d] % CUDA_VALUES_UNIT + size + CUDA_VALUES_UNIT - 1) /
		       CUDA_VALUES_UNIT;
	return job->kernel == CUDA_REQUANTISE_NVFP4_WEIGHT && last ? size / GROUP : size;
}

static bool count_units(const struct shape *s, struct cuda_job *job)
{
	uint64_t units = 1;

	for (unsigned int d = 0; d < s->dims; d++) {
		units *= units_of(s, job, d);
		if (s->size[d] > CUDA_JOB_UNITS || units > CUDA_JOB_UNITS)
			return false;
	}
	job->units = (uint32_t)units;
	return true;
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
		if (block > CUDA_JOB_UNITS) /* all indexes share one */
			block = CUDA_JOB_UNITS;
		job->block[d] = (uint32_t)block;
		job->phase[d] = (uint32_t)(s->begin[d] % block);
	}
	job->skip = (uint32_t)(s->begin[s->dims - 1] % CUDA_VALUES_UNIT);
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
