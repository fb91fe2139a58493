/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_PIECES_H
#define PLAN_PIECES_H

/* A plan as text, a line a parameter, NAME DTYPE [shape] = SOURCE + SOURCE …; a source is written
 * NAME@FIRST+BYTES, and *PIECES/STRIDE where it has several. */

#include <stdio.h>

#include "wloadfs/plan.h"

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
	}
	fclose(out);
	return text;
}

/* What holds for every plan: pieces are inside their tensors, tile the parameter, are what its
 * shape says. Returns what is wrong, or NULL. */
static inline const char *pieces_wrong(const struct wload_inventory *inv,
				       const struct wload_plan *plan)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *p = wload_plan_param(plan, i);
		uint64_t at = 0, bits = wload_dtype_describe(p->dtype)->bits;

		for (uint32_t j = 0; j < p->source_count; j++) {
			const struct wload_source *s = &p->sources[j];

			if (s->rows == 0 || s->bytes % s->rows || (s->rows == 1 && s->src_stride) ||
			    (s->rows > 1 && s->bytes / s->rows >= s->src_stride))
				return "pieces make no sense";
			if (s->src_offset + (s->rows - 1) * s->src_stride + s->bytes / s->rows >
			    wload_inventory_tensor(inv, s->tensor).bytes)
				return "a piece is outside of its tensor";
			if (s->dst_offset != at)
				return "sources do not tile";
			at += s->bytes;
		}
		for (uint32_t j = 0; j < p->rank; j++)
			bits *= p->shape[j];
		if (at != p->bytes || bits / 8 != at)
			return "the bytes are not those of the shape";
		all += at;
	}
	return all == wload_plan_bytes(plan) ? NULL : "the sum of bytes is wrong";
}

#endif
