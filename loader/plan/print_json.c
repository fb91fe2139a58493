/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as JSON, straight to the stream: a tree of 180,000 parameters would take more memory
 * than the plan. */

#include <errno.h>
#include <inttypes.h>

#include "loader/plan/print.h"
#include "loader/plan/print_count.h"
#include "loader/plan/step.h"

/* RFC 8259 section 7; C0 80 is tensor.h's spelling of NUL. */
static void put_string(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	putc('"', out);
	for (; *p; p++) {
		if (p[0] == 0xc0 && p[1] == 0x80) {
			fputs("\\u0000", out);
			p++;
		} else if (*p < 0x20 || *p == 0x7f) {
			fprintf(out, "\\u%04x", *p);
		} else {
			if (*p == '"' || *p == '\\')
				putc('\\', out);
			putc(*p, out);
		}
	}
	putc('"', out);
}

static void put_source(FILE *out, const struct wload_inventory *inv, const struct wload_source *s)
{
	fputs("{\"tensor\": ", out);
	put_string(out, wload_inventory_tensor(inv, s->tensor).name);
	fprintf(out,
		", \"src_offset\": %" PRIu64 ", \"rows\": %" PRIu32 ", \"src_stride\": %" PRIu64
		", \"dst_offset\": %" PRIu64 ", \"bytes\": %" PRIu64 "}",
		s->src_offset, s->rows, s->src_stride, s->dst_offset, s->bytes);
}

static void put_list(FILE *out, const char *name, const uint64_t list[WLOAD_STEP_DIMS])
{
	fprintf(out, ", \"%s\": [", name);
	for (unsigned int i = 0; i < WLOAD_STEP_DIMS; i++)
		fprintf(out, "%s%" PRIu64, i ? ", " : "", list[i]);
	putc(']', out);
}

static void put_step(FILE *out, const struct wload_step *s)
{
	fprintf(out,
		"{\"kind\": \"%s\", \"name\": \"%s\", \"from\": \"%s\", \"to\": \"%s\", "
		"\"scale_dtype\": \"%s\", \"in\": %" PRIu64 ", \"scale\": %" PRIu64
		", \"scale_2\": %" PRIu64 ", \"all_scale_2\": %" PRIu64 ", \"out\": %" PRIu64,
		step_kind_name(s->kind), s->name, wload_dtype_describe(s->from)->name,
		wload_dtype_describe(s->to)->name, wload_dtype_describe(s->scale_dtype)->name,
		s->in, s->scale, s->scale_2, s->all_scale_2, s->out);
	put_list(out, "begin", s->begin);
	put_list(out, "size", s->size);
	put_list(out, "in_stride", s->in_stride);
	put_list(out, "out_stride", s->out_stride);
	put_list(out, "block", s->block);
	put_list(out, "scale_stride", s->scale_stride);
	fprintf(out, ", \"reduce\": %" PRIu64 ", \"reduce_stride\": %" PRIu64 "}", s->reduce,
		s->reduce_stride);
}

static void put_steps(FILE *out, const struct wload_param *p)
{
	fprintf(out, ", \"staged_bytes\": %" PRIu64 ", \"zeroed\": %s, \"steps\": [",
		p->staged_bytes, p->zeroed ? "true" : "false");
	for (uint32_t i = 0; i < p->step_count; i++) {
		fputs(i ? ", " : "", out);
		put_step(out, &p->steps[i]);
	}
	putc(']', out);
}

static void put_param(FILE *out, const struct wload_inventory *inv, const struct wload_param *p)
{
	uint32_t i;

	fputs("{\"name\": ", out);
	put_string(out, p->name);
	fprintf(out, ", \"dtype\": \"%s\", \"shape\": [", wload_dtype_describe(p->dtype)->name);
	for (i = 0; i < p->rank; i++)
		fprintf(out, "%s%" PRIu64, i ? ", " : "", p->shape[i]);
	fprintf(out, "], \"bytes\": %" PRIu64 ", \"sources\": [", p->bytes);
	for (i = 0; i < p->source_count; i++) {
		fputs(i ? ", " : "", out);
		put_source(out, inv, &p->sources[i]);
	}
	putc(']', out);
	if (p->step_count)
		put_steps(out, p);
	putc('}', out);
}

static void put_unused(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan)
{
	const char *between = "";
	uint32_t i;

	for (i = 0; i < wload_inventory_count(inv); i++) {
		if (!wload_plan_unused(plan, i))
			continue;
		fputs(between, out);
		put_string(out, wload_inventory_tensor(inv, i).name);
		between = ", ";
	}
}

int plan_print_json(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan)
{
	const struct plan_counts n = plan_counts(inv, plan);
	uint32_t i;

	fputs("{\"family\": ", out);
	put_string(out, wload_plan_family(plan));
	fprintf(out,
		", \"tp\": %" PRIu32 ", \"rank\": %" PRIu32 ", \"ep\": %" PRIu32
		", \"layout\": \"%s\", \"note\": ",
		wload_plan_tp(plan), wload_plan_rank(plan), wload_plan_ep(plan),
		wload_layout_name(wload_plan_layout(plan)));
	if (wload_plan_note(plan))
		put_string(out, wload_plan_note(plan));
	else
		fputs("null", out);
	fprintf(out,
		", \"tensor_count\": %" PRIu32 ", \"parameter_count\": %" PRIu32
		", \"fused_count\": %" PRIu32 ", \"elsewhere_count\": %" PRIu32
		", \"bytes\": %" PRIu64 ",\n\"parameters\": [",
		n.tensors, n.parameters, n.fused, n.elsewhere, wload_plan_bytes(plan));
	for (i = 0; i < n.parameters; i++) {
		fputs(i ? ",\n" : "\n", out);
		put_param(out, inv, wload_plan_param(plan, i));
	}
	fputs("\n],\n\"unused\": [", out);
	put_unused(out, inv, plan);
	fputs("]}\n", out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
