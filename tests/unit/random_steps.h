/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RANDOM_STEPS_H
#define RANDOM_STEPS_H

/* Parameters made by random steps, and what they should be: every element by itself, each format by
 * one rule that knows nothing but its numbers of bits. Shared by the tests of the host's executor
 * and of the GPU's. */

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wloadfs/plan.h"

#define RANDOM_STEPS_MAX 5

struct random_param {
	struct wload_param param;
	struct wload_step steps[RANDOM_STEPS_MAX];
	uint8_t *staged, *want;
};

struct random_state {
	uint64_t state;
};

static inline uint64_t random_next(struct random_state *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static inline uint64_t random_below(struct random_state *r, uint64_t n)
{
	return random_next(r) % n;
}

/* ---- formats -------------------------------------------------------------------------------- */

struct format {
	int mantissa, least; /* bits; the exponent of the smallest normal number */
	double most;	     /* the largest number */
	bool saturates;
	uint64_t infinity, nan;
	int sign; /* bit */
};

static const struct format format_bf16 = {7, -126, 0x1.fep127, false, 0x7f80, 0x7fc0, 15};
static const struct format format_f16 = {10, -14, 65504, false, 0x7c00, 0x7e00, 15};
static const struct format format_f8 = {3, -6, 448, true, 0, 0x7f, 7};

static inline uint64_t format_round(const struct format *f, double v)
{
	double a = fabs(v);
	uint64_t sign = signbit(v) ? UINT64_C(1) << f->sign : 0;
	int e = a > 0 && !isinf(a) ? ilogb(a) : f->least;
	double q;

	if (isnan(v))
		return f->nan;
	if (e < f->least)
		e = f->least;
	q = nearbyint(ldexp(a, f->mantissa - e));
	if (ldexp(q, e - f->mantissa) > f->most || isinf(a)) {
		if (!f->saturates)
			return sign | f->infinity;
		e = ilogb(f->most);
		q = ldexp(f->most, f->mantissa - e);
	}
	return sign | (((uint64_t)(e - f->least + 1) << f->mantissa) + (uint64_t)q -
		       (UINT64_C(1) << f->mantissa));
}

static inline double format_value(const struct format *f, uint64_t bits)
{
	uint64_t rest = bits & ((UINT64_C(1) << f->sign) - 1);
	int e = (int)(rest >> f->mantissa);
	uint64_t q = rest & ((UINT64_C(1) << f->mantissa) - 1);
	double v = e ? ldexp((double)(q + (UINT64_C(1) << f->mantissa)),
			     e - 1 + f->least - f->mantissa)
		     : ldexp((double)q, f->least - f->mantissa);

	if (f->infinity && rest >= f->infinity)
		v = rest == f->infinity ? INFINITY : NAN;
	if (!f->infinity && rest == f->nan)
		v = NAN;
	return bits >> f->sign & 1 ? -v : v;
}

static const double e2m1_numbers[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

static inline double e2m1_number(unsigned int half)
{
	return half & 8 ? -e2m1_numbers[half & 7] : e2m1_numbers[half & 7];
}

static inline unsigned int e2m1_nearest(double v)
{
	unsigned int best = 0;

	if (isnan(v))
		return 0;
	for (unsigned int c = 1; c < 8; c++) {
		double a = fmin(fabs(v), 6); /* distances of larger ones are all the same */
		double d = fabs(a - e2m1_numbers[c]), b = fabs(a - e2m1_numbers[best]);

		if (d < b || (d == b && c % 2 == 0))
			best = c;
	}
	return best | (signbit(v) ? 8 : 0);
}

/* ---- one element at a time --------------------------------------------------------------------
 */

static inline uint64_t bits_at(const uint8_t *at, unsigned int bytes)
{
	uint64_t bits = 0;

	memcpy(&bits, at, bytes);
	return bits;
}

static inline float f32_at(const uint8_t *at)
{
	float v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static inline float number_at(enum wload_dtype dtype, const uint8_t *at)
{
	double wide;

	switch (dtype) {
	case WLOAD_DTYPE_F32:
		return f32_at(at);
	case WLOAD_DTYPE_F64:
		memcpy(&wide, at, sizeof(wide));
		return (float)wide;
	case WLOAD_DTYPE_BF16:
		return (float)format_value(&format_bf16, bits_at(at, 2));
	case WLOAD_DTYPE_F16:
		return (float)format_value(&format_f16, bits_at(at, 2));
	default:
		return (float)format_value(&format_f8, *at);
	}
}

static inline uint64_t number_round(enum wload_dtype dtype, float v)
{
	uint32_t bits;

	if (dtype == WLOAD_DTYPE_BF16)
		return format_round(&format_bf16, v);
	if (dtype == WLOAD_DTYPE_F16)
		return format_round(&format_f16, v);
	if (dtype == WLOAD_DTYPE_F8_E4M3)
		return format_round(&format_f8, v);
	memcpy(&bits, &v, sizeof(bits));
	return isnan(v) ? 0x7fc00000 : bits;
}

static inline unsigned int half_at(const uint8_t *bytes, uint64_t at)
{
	return at & 1 ? bytes[at / 2] >> 4 : bytes[at / 2] & 15;
}

static inline float naive_largest(const uint8_t *staged, uint64_t at, const struct wload_step *s,
				  enum wload_dtype dtype)
{
	unsigned int bytes = dtype == WLOAD_DTYPE_F32 ? 4 : 2;
	float most = number_at(dtype, staged + at);

	for (uint64_t k = 1; k < s->reduce; k++) {
		float v = number_at(dtype, staged + at + k * s->reduce_stride * bytes);

		most = isnan(v) || v > most ? v : most;
	}
	return most;
}

/* What an NVFP4 group whose first element is at `in` gets as its scale. */
static inline unsigned int naive_group_scale(const uint8_t *staged, uint64_t in, uint64_t stride,
					     float scale, float largest)
{
	float most = 0;

	for (unsigned int i = 0; i < 16; i++) {
		float v = fabsf((float)e2m1_number(half_at(staged, in + i * stride)) * scale);

		most = isnan(v) || v > most ? v : most;
	}
	return (unsigned int)format_round(&format_f8, most / 6.0f / largest);
}

static inline uint64_t naive_requantise(const struct wload_step *s, const uint8_t *staged,
					uint64_t in, uint64_t group, uint64_t stride,
					uint64_t scale)
{
	float own = f32_at(staged + s->scale_2);
	float largest = naive_largest(staged, s->all_scale_2, s, WLOAD_DTYPE_F32);
	float by = (float)format_value(&format_f8, staged[scale]) * own, new;
	bool weight = s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT;
	unsigned int code;

	if (own == largest)
		return weight ? half_at(staged, in) : staged[scale];
	code = naive_group_scale(staged, group, stride, by, largest);
	if (!weight)
		return code;
	new = (float)format_value(&format_f8, code) * largest;
	return new == 0 ? 0 : e2m1_nearest((float)e2m1_number(half_at(staged, in)) * by / new);
}

static inline float naive_scale(const struct wload_step *s, const uint8_t *staged, uint64_t scale)
{
	switch (s->kind) {
	case WLOAD_STEP_DEQUANTISE_FP8:
		return number_at(s->scale_dtype, staged + scale);
	case WLOAD_STEP_DEQUANTISE_NVFP4:
		return number_at(WLOAD_DTYPE_F8_E4M3, staged + scale) * f32_at(staged + s->scale_2);
	default:
		return staged[scale] == 255 ? NAN : (float)ldexp(1, staged[scale] - 127);
	}
}

/* The bits of the element of index i. */
static inline uint64_t naive_element(const struct wload_step *s, const uint8_t *staged,
				     const uint64_t i[WLOAD_STEP_DIMS])
{
	unsigned int bits = wload_dtype_describe(s->from)->bits, last = WLOAD_STEP_DIMS - 1;
	uint64_t in = 0, scale = 0, group;

	while (last > 0 && s->block[last] != 16)
		last--;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		in += i[d] * s->in_stride[d];
		scale += i[d] / s->block[d] * s->scale_stride[d];
	}
	switch (s->kind) {
	case WLOAD_STEP_MOVE:
	case WLOAD_STEP_EQUAL:
		return bits_at(staged + s->in + in * bits / 8, bits / 8);
	case WLOAD_STEP_CAST:
		return number_round(s->to, number_at(s->from, staged + s->in + in * bits / 8));
	case WLOAD_STEP_MAX:
		return number_round(s->to,
				    naive_largest(staged, s->in + in * bits / 8, s, s->from));
	case WLOAD_STEP_DEQUANTISE_FP8:
		scale *= s->scale_dtype == WLOAD_DTYPE_F32 ? 4 : 2;
		return number_round(s->to, number_at(s->from, staged + s->in + in) *
						   naive_scale(s, staged, s->scale + scale));
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
		return number_round(s->to, (float)e2m1_number(half_at(staged, 2 * s->in + in)) *
						   naive_scale(s, staged, s->scale + scale));
	case WLOAD_STEP_REQUANTISE_FP8: {
		float own = f32_at(staged + s->scale + 4 * scale);
		float most = naive_largest(staged, s->scale_2, s, WLOAD_DTYPE_F32);
		uint8_t byte = staged[s->in + in];

		return own == most
			       ? byte
			       : format_round(&format_f8,
					      (float)format_value(&format_f8, byte) * own / most);
	}
	default:
		in += 2 * s->in;
		group = s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT
				? in - i[last] % 16 * s->in_stride[last]
				: in;
		return naive_requantise(
			s, staged, in, group,
			s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT ? s->in_stride[last] : 1,
			s->scale + scale);
	}
}

static inline void naive_step(const struct wload_step *s, const uint8_t *staged, uint8_t *out)
{
	bool half = s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT;
	unsigned int bytes = wload_dtype_describe(s->to)->bits / 8;
	uint64_t i[WLOAD_STEP_DIMS], total = 1;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		i[d] = s->begin[d];
		total *= s->size[d];
	}
	for (uint64_t n = 0; n < total; n++) {
		uint64_t at = 0, element = naive_element(s, staged, i);

		for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
			at += i[d] * s->out_stride[d];
		if (half) {
			uint8_t *byte = &out[s->out + at / 2];

			*byte = (uint8_t)(at & 1 ? (*byte & 15) | element << 4
						 : (*byte & 0xf0) | element);
		} else {
			memcpy(out + (s->out + at * bytes), &element, bytes);
		}
		for (unsigned int d = WLOAD_STEP_DIMS; d-- > 0;) {
			if (++i[d] < s->begin[d] + s->size[d])
				break;
			i[d] = s->begin[d];
		}
	}
}

/* ---- making them ------------------------------------------------------------------------------
 */

#define PICK(r, list) (list)[random_below((r), sizeof(list) / sizeof((list)[0]))]

/* Dense strides of sizes in an order of dimensions (the last is nearest), with gaps now and then.
 * Returns the elements from the first to behind the last. */
static inline uint64_t random_strides(struct random_state *r, const uint64_t *size,
				      const unsigned int *order, bool gaps, uint64_t *stride)
{
	uint64_t extent = 1;

	for (unsigned int k = WLOAD_STEP_DIMS; k-- > 0;) {
		stride[order[k]] = extent;
		if (gaps && random_below(r, 4) == 0)
			stride[order[k]] += 1 + random_below(r, 5);
		extent = (size[order[k]] - 1) * stride[order[k]] + extent;
		if (extent < stride[order[k]] * size[order[k]] && random_below(r, 8))
			extent = stride[order[k]] * size[order[k]];
	}
	return extent;
}

static inline void random_order(struct random_state *r, unsigned int *order)
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		unsigned int k = (unsigned int)random_below(r, d + 1);

		order[d] = order[k];
		order[k] = d;
	}
}

static inline void random_types(struct random_state *r, struct wload_step *s)
{
	static const enum wload_dtype any[] = {WLOAD_DTYPE_U8, WLOAD_DTYPE_BF16, WLOAD_DTYPE_F32,
					       WLOAD_DTYPE_F64};
	static const enum wload_dtype values[] = {WLOAD_DTYPE_BF16, WLOAD_DTYPE_F16,
						  WLOAD_DTYPE_F32, WLOAD_DTYPE_F8_E4M3,
						  WLOAD_DTYPE_F64};
	static const enum wload_dtype wide[] = {WLOAD_DTYPE_BF16, WLOAD_DTYPE_F16, WLOAD_DTYPE_F32};
	static const enum wload_dtype scales[] = {WLOAD_DTYPE_F32, WLOAD_DTYPE_BF16};

	s->scale_dtype = WLOAD_DTYPE_F8_E4M3;
	switch (s->kind) {
	case WLOAD_STEP_MOVE:
	case WLOAD_STEP_EQUAL:
		s->from = s->to = PICK(r, any);
		break;
	case WLOAD_STEP_MAX:
		s->from = s->to = s->scale_dtype = PICK(r, scales);
		break;
	case WLOAD_STEP_CAST:
		s->from = PICK(r, values);
		s->to = PICK(r, wide);
		break;
	case WLOAD_STEP_DEQUANTISE_FP8:
		s->from = WLOAD_DTYPE_F8_E4M3;
		s->scale_dtype = PICK(r, scales);
		s->to = PICK(r, wide);
		break;
	case WLOAD_STEP_DEQUANTISE_NVFP4:
	case WLOAD_STEP_DEQUANTISE_MXFP4:
		s->from = WLOAD_DTYPE_U8;
		s->to = PICK(r, wide);
		break;
	case WLOAD_STEP_REQUANTISE_FP8:
	case WLOAD_STEP_REQUANTISE_NVFP4_SCALE:
		s->from = s->to = WLOAD_DTYPE_F8_E4M3;
		s->scale_dtype = s->kind == WLOAD_STEP_REQUANTISE_FP8 ? WLOAD_DTYPE_F32
								      : WLOAD_DTYPE_F8_E4M3;
		break;
	case WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT:
		s->from = s->to = WLOAD_DTYPE_U8;
		break;
	}
}

static inline void random_sizes(struct random_state *r, struct wload_step *s,
				unsigned int *ret_last)
{
	static const uint64_t blocks[] = {1, 1, 2, 5, 16, 32, 128};
	unsigned int count = 1 + (unsigned int)random_below(r, 4), last = 0;

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		s->size[d] = s->block[d] = 1;
	for (unsigned int k = 0; k < count; k++) {
		unsigned int d = (unsigned int)random_below(r, WLOAD_STEP_DIMS);

		s->size[d] = 1 + random_below(r, count == 1 ? 3000 : count == 2 ? 90 : 14);
		s->begin[d] = random_below(r, 3) ? 0 : random_below(r, 200);
		s->block[d] = PICK(r, blocks);
		last = d > last ? d : last;
	}
	*ret_last = last;
	if (s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT) {
		for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
			s->block[d] = d == last ? 16 : 1;
		s->size[last] = 16 * (1 + s->size[last] / 16);
		s->begin[last] -= s->begin[last] % 16;
	}
}

/* Places the step's operands behind *staged bytes of the staging area. */
static inline void random_operands(struct random_state *r, struct wload_step *s, unsigned int last,
				   uint64_t *staged)
{
	unsigned int order[WLOAD_STEP_DIMS], bits = wload_dtype_describe(s->from)->bits;
	bool half = s->kind == WLOAD_STEP_DEQUANTISE_NVFP4 ||
		    s->kind == WLOAD_STEP_DEQUANTISE_MXFP4 ||
		    s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT ||
		    s->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE;
	uint64_t extent, blocks[WLOAD_STEP_DIMS], back = 0, width = half ? 1 : bits / 4;
	static const unsigned int scale_bytes[WLOAD_DTYPE_COUNT] = {
		[WLOAD_DTYPE_F32] = 4, [WLOAD_DTYPE_BF16] = 2, [WLOAD_DTYPE_F8_E4M3] = 1};

	random_order(r, order);
	if (half)
		for (unsigned int k = 0; k < WLOAD_STEP_DIMS; k++)
			if (order[k] == last) {
				order[k] = order[WLOAD_STEP_DIMS - 1];
				order[WLOAD_STEP_DIMS - 1] = last;
			}
	extent = random_strides(r, s->size, order, true, s->in_stride);
	s->reduce = 1 + random_below(r, 6);
	s->reduce_stride = 1 + random_below(r, 3);
	if (s->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE) {
		for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
			s->in_stride[d] *= 16;
		extent *= 16;
	} else if (s->kind == WLOAD_STEP_MAX || s->kind == WLOAD_STEP_EQUAL) {
		extent += s->reduce * s->reduce_stride;
	}
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		back += s->begin[d] * s->in_stride[d];
	s->in = *staged - back * width / 2;
	*staged += (extent * width / 2 + 2 + 15) / 16 * 16;

	random_order(r, order);
	back = 0;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		blocks[d] = (s->begin[d] + s->size[d] - 1) / s->block[d] -
			    s->begin[d] / s->block[d] + 1;
	extent = random_strides(r, blocks, order, true, s->scale_stride);
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		back += s->begin[d] / s->block[d] * s->scale_stride[d];
	s->scale = *staged - back * scale_bytes[s->scale_dtype];
	*staged += (extent * scale_bytes[s->scale_dtype] + 15) / 16 * 16;
	s->scale_2 = *staged;
	s->all_scale_2 = s->scale_2 + (random_below(r, 2) ? 0 : 16);
	*staged += 16 + (s->reduce * s->reduce_stride * 4 + 15) / 16 * 16;
}

/* Places what the step makes behind *out bytes of the parameter. */
static inline void random_out(struct random_state *r, struct wload_step *s, bool gaps,
			      uint64_t *out)
{
	bool half = s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT;
	unsigned int order[WLOAD_STEP_DIMS] = {0, 1, 2, 3, 4, 5};
	uint64_t width = half ? 1 : wload_dtype_describe(s->to)->bits / 4, back = 0, extent;

	extent = random_strides(r, s->size, order, gaps && !half, s->out_stride);
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		back += s->begin[d] * s->out_stride[d];
	s->out = *out - back * width / 2;
	*out += extent * width / 2;
}

/* Values that are met in checkpoints where F32 are read, among those that are met nowhere. */
static inline void random_bytes(struct random_state *r, uint8_t *bytes, uint64_t count)
{
	bool tame = random_below(r, 3) > 0;

	for (uint64_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)random_next(r);
	for (uint64_t i = 0; tame && i + 4 <= count; i += 4) {
		static const float scales[] = {0.25f, 0.0123f, 3.0f, 1e-3f, 0.7f};
		float v = PICK(r, scales);

		if (random_below(r, 3) == 0)
			memcpy(bytes + i, &v, 4);
	}
}

static inline void random_equal(const struct wload_step *s, uint8_t *staged)
{
	unsigned int bytes = wload_dtype_describe(s->from)->bits / 8;
	uint64_t at = s->in, end = s->reduce * s->reduce_stride;

	if (s->kind != WLOAD_STEP_EQUAL)
		return;
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++) {
		at += s->begin[d] * s->in_stride[d] * bytes;
		end += (s->size[d] - 1) * s->in_stride[d];
	}
	for (uint64_t i = 0; i <= end; i++)
		memcpy(staged + at + i * bytes, staged + at, bytes);
}

/* Fills in a parameter of up to RANDOM_STEPS_MAX steps; random_param_free() it. */
static inline void random_param(struct random_state *r, struct random_param *ret)
{
	struct wload_param *p = &ret->param;

	memset(ret, 0, sizeof(*ret));
	p->name = "random";
	p->dtype = WLOAD_DTYPE_U8;
	p->steps = ret->steps;
	p->step_count = 1 + (uint32_t)random_below(r, RANDOM_STEPS_MAX);
	p->zeroed = random_below(r, 2);
	for (uint32_t k = 0; k < p->step_count; k++) {
		struct wload_step *s = &ret->steps[k];
		unsigned int last;

		s->kind = (enum wload_step_kind)random_below(r, WLOAD_STEP_EQUAL + 1);
		s->name = "random";
		random_types(r, s);
		random_sizes(r, s, &last);
		random_operands(r, s, last, &p->staged_bytes);
		random_out(r, s, p->zeroed, &p->bytes);
		if (p->zeroed)
			p->bytes += random_below(r, 40);
	}
	p->source_bytes = p->staged_bytes;
	ret->staged = malloc(p->staged_bytes);
	ret->want = calloc(1, p->bytes);
	random_bytes(r, ret->staged, p->staged_bytes);
	for (uint32_t k = 0; k < p->step_count; k++)
		random_equal(&ret->steps[k], ret->staged);
	for (uint32_t k = 0; k < p->step_count; k++)
		naive_step(&ret->steps[k], ret->staged, ret->want);
}

static inline void random_param_free(struct random_param *p)
{
	free(p->staged);
	free(p->want);
}

static inline void random_describe(const struct random_param *p)
{
	for (uint32_t k = 0; k < p->param.step_count; k++) {
		const struct wload_step *s = &p->steps[k];

		printf("# step %u: kind %d, %s -> %s, reduce %" PRIu64 "\n", k, (int)s->kind,
		       wload_dtype_describe(s->from)->name, wload_dtype_describe(s->to)->name,
		       s->reduce);
		for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
			if (s->size[d] > 1)
				printf("#   %u: begin %" PRIu64 " size %" PRIu64 " in %" PRIu64
				       " out %" PRIu64 " block %" PRIu64 " scale %" PRIu64 "\n",
				       d, s->begin[d], s->size[d], s->in_stride[d],
				       s->out_stride[d], s->block[d], s->scale_stride[d]);
	}
}

#endif
