/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_PIECES_H
#define PLAN_PIECES_H

/* A plan as text, a line a parameter, NAME DTYPE [shape] = SOURCE + SOURCE …; a source is written
 * NAME@FIRST+BYTES, and *PIECES/STRIDE where it has several. Behind it a line a step,
 *
 *   : TRANSFORM IN>OUT [SIZE,…] STRIDES IN>STRIDES OUT
 *   … scale AT/BLOCKS/STRIDES, AT scale_2, max of N [at AT]
 *
 * of the dimensions that are larger than 1; the latter where its kind has them. */

#include <stdio.h>
#include <stdlib.h>

#include "wloadfs/plan.h"

static inline void step_list(FILE *out, const struct wload_step *s, const uint64_t *list)
{
	bool first = true;

	for (uint32_t d = 0; d < WLOAD_STEP_DIMS; d++) {
		if (s->size[d] == 1)
			continue;
		fprintf(out, "%s%ju", first ? "" : ",", (uintmax_t)list[d]);
		first = false;
	}
}

static inline void step_scales_text(FILE *out, const struct wload_step *s)
{
	bool nvfp4 = s->kind == WLOAD_STEP_DEQUANTISE_NVFP4 ||
		     s->kind == WLOAD_STEP_REQUANTISE_NVFP4_WEIGHT ||
		     s->kind == WLOAD_STEP_REQUANTISE_NVFP4_SCALE;

	if (s->kind != WLOAD_STEP_MOVE && s->kind != WLOAD_STEP_CAST && s->kind != WLOAD_STEP_MAX &&
	    s->kind != WLOAD_STEP_EQUAL) {
		fprintf(out, " scale %ju/", (uintmax_t)s->scale);
		step_list(out, s, s->block);
		putc('/', out);
		step_list(out, s, s->scale_stride);
	}
	if (nvfp4)
		fprintf(out, ", %ju", (uintmax_t)s->scale_2);
	if (s->kind == WLOAD_STEP_MAX || s->kind == WLOAD_STEP_EQUAL)
		fprintf(out, " of %ju", (uintmax_t)s->reduce);
	else if (s->reduce)
		fprintf(out, ", max of %ju at %ju", (uintmax_t)s->reduce,
			(uintmax_t)(nvfp4 ? s->all_scale_2 : s->scale_2));
}

static inline void step_text(FILE *out, const struct wload_step *s)
{
	fprintf(out, " : %s %ju>%ju [", s->name, (uintmax_t)s->in, (uintmax_t)s->out);
	step_list(out, s, s->size);
	fputs("] ", out);
	step_list(out, s, s->in_stride);
	putc('>', out);
	step_list(out, s, s->out_stride);
	step_scales_text(out, s);
	putc('\n', out);
}

static inline char *pieces_text(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *p = wload_plan_param(plan, i);

		fprintf(out, "%s %s [", p->name, wload_dtype_describe(p->dtype)->name);
		for (uint32_t j = 0; j < p->rank; j++)
			fprintf(out, "%s%ju", j ? "," : "", (uintmax_t)p->shape[j]);
		for (uint32_t j = 0; j < p->source_count; j++) {
			const struct wload_source *s = &p->sources[j];

			fprintf(out, "%s %s@%ju+%ju",
				j ? " +" : "] =", wload_inventory_tensor(inv, s->tensor).name,
				(uintmax_t)s->src_offset, (uintmax_t)s->bytes);
			if (s->rows != 1)
				fprintf(out, "*%u/%ju", s->rows, (uintmax_t)s->src_stride);
		}
		putc('\n', out);
		for (uint32_t j = 0; j < p->step_count; j++)
			step_text(out, &p->steps[j]);
	}
	fclose(out);
	return text;
}

/* What steps of moves are: of no byte outside of the staged ones, and each byte of the parameter
 * once. Returns what is wrong, or NULL. */
static inline const char *steps_wrong(const struct wload_param *p)
{
	uint64_t width = wload_dtype_describe(p->dtype)->bits / 8, i[WLOAD_STEP_DIMS], all = 0;
	char *made = calloc(1, p->bytes ? p->bytes : 1);
	const char *wrong = NULL;

	for (uint32_t j = 0; j < p->step_count && !wrong; j++) {
		const struct wload_step *s = &p->steps[j];
		uint64_t count = 1;

		for (uint32_t d = 0; d < WLOAD_STEP_DIMS; d++)
			count *= s->size[d];
		if (s->in % width || s->from != p->dtype || s->to != p->dtype ||
		    (j && s->out < s[-1].out))
			wrong = "a step is none";
		for (uint64_t n = 0; n < count && !wrong; n++) {
			uint64_t rest = n, in = s->in, out = s->out;

			for (uint32_t d = WLOAD_STEP_DIMS; d-- > 0; rest /= s->size[d]) {
				i[d] = rest % s->size[d];
				in += i[d] * s->in_stride[d] * width;
				out += i[d] * s->out_stride[d] * width;
			}
			if (in + width > p->staged_bytes || out + width > p->bytes || made[out]++)
				wrong = "a step is outside, or writes twice";
		}
		all += count * width;
	}
	free(made);
	return wrong ? wrong : all == p->bytes ? NULL : "steps do not make all";
}

/* What holds for every plan: pieces are inside their tensors, tile the parameter, or are staged
 * where the steps of it say, are what its shape says. Returns what is wrong, or NULL. */
static inline const char *pieces_wrong(const struct wload_inventory *inv,
				       const struct wload_plan *plan)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *p = wload_plan_param(plan, i);
		uint64_t at = 0, bits = wload_dtype_describe(p->dtype)->bits, sum = 0;

		for (uint32_t j = 0; j < p->source_count; j++) {
			const struct wload_source *s = &p->sources[j];

			if (s->rows == 0 || s->bytes % s->rows || (s->rows == 1 && s->src_stride) ||
			    (s->rows > 1 && s->bytes / s->rows >= s->src_stride))
				return "pieces make no sense";
			if (s->src_offset + (s->rows - 1) * s->src_stride + s->bytes / s->rows >
			    wload_inventory_tensor(inv, s->tensor).bytes)
				return "a piece is outside of its tensor";
			if (p->step_count ? s->dst_offset < at : s->dst_offset != at)
				return "sources do not tile";
			at = s->dst_offset + s->bytes;
			sum += s->bytes;
		}
		for (uint32_t j = 0; j < p->rank; j++)
			bits *= p->shape[j];
		if (bits / 8 != p->bytes || sum != p->source_bytes)
			return "the bytes are not those of the shape";
		if (p->step_count ? at > p->staged_bytes : at != p->bytes)
			return "the bytes are not those of the sources";
		if (p->step_count && steps_wrong(p))
			return steps_wrong(p);
		all += p->bytes;
	}
	return all == wload_plan_bytes(plan) ? NULL : "the sum of bytes is wrong";
}

#endif
