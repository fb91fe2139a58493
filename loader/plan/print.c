/* SPDX-License-Identifier: Apache-2.0 */
/* What both ways of printing share, and the table. */

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "loader/plan/print.h"
#include "loader/plan/print_count.h"

/* Of a parameter with more sources than the first, as stacked experts have, only some are shown. */
#define SOURCES_MAX    6
#define SOURCES_SHOWN  4

#define NAME_WIDTH_MAX 96 /* columns; longer names push what follows to the right */

struct plan_counts plan_counts(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	struct plan_counts n = {.tensors = wload_inventory_count(inv),
				.parameters = wload_plan_count(plan)};
	uint32_t i;

	for (i = 0; i < n.parameters; i++)
		n.fused += wload_plan_param(plan, i)->source_count > 1;
	for (i = 0; i < n.tensors; i++) {
		n.unused += wload_plan_unused(plan, i);
		n.elsewhere += !wload_plan_unused(plan, i) && !wload_plan_uses(plan, i);
	}
	return n;
}

/* Columns that a name takes, one a character. */
static int columns(const char *name)
{
	int n = 0;

	for (; *name; name++)
		n += ((unsigned char)*name & 0xc0) != 0x80;
	return n;
}

/* Whether bytes at p are a control character: C0 and DEL, C1 (C2 80 … C2 9F), NUL as C0 80. */
static int control_bytes(const unsigned char *p)
{
	if (p[0] < 0x20 || p[0] == 0x7f)
		return 1;
	if (p[0] == 0xc0 && p[1] == 0x80)
		return 2;
	return p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0 ? 2 : 0;
}

static void put_name(FILE *out, const char *name, int width)
{
	const unsigned char *p = (const unsigned char *)name;
	int skip, pad = width - columns(name);

	while (*p) {
		skip = control_bytes(p);
		putc(skip ? '?' : *p, out);
		p += skip ? skip : 1;
	}
	for (; pad > 0; pad--)
		putc(' ', out);
}

/* The length of "[6,4]"; written when out is not NULL. */
static int put_shape(FILE *out, const struct wload_param *p)
{
	char text[32];
	int len = 2;
	uint32_t i;

	if (out)
		putc('[', out);
	for (i = 0; i < p->rank; i++) {
		len += snprintf(text, sizeof(text), "%s%" PRIu64, i ? "," : "", p->shape[i]);
		if (out)
			fputs(text, out);
	}
	if (out)
		putc(']', out);
	return len;
}

struct widths {
	int name, shape;
};

static struct widths measure(const struct wload_plan *plan)
{
	struct widths w = {9, 5}; /* the headings' */
	const struct wload_param *p;
	uint32_t i;
	int n;

	for (i = 0; i < wload_plan_count(plan); i++) {
		p = wload_plan_param(plan, i);
		n = columns(p->name);
		if (n > w.name && n <= NAME_WIDTH_MAX)
			w.name = n;
		n = put_shape(NULL, p);
		if (n > w.shape && n <= NAME_WIDTH_MAX)
			w.shape = n;
	}
	return w;
}

static bool is_whole(const struct wload_inventory *inv, const struct wload_source *s)
{
	return s->bytes == wload_inventory_tensor(inv, s->tensor).bytes;
}

static void put_source(FILE *out, const struct wload_inventory *inv, const struct wload_source *s,
		       struct widths w)
{
	fputs("  ", out);
	put_name(out, wload_inventory_tensor(inv, s->tensor).name, w.name - 2);
	fprintf(out, "  at %-*" PRIu64 "  %15" PRIu64, 10 + w.shape, s->dst_offset, s->bytes);
	if (s->rows > 1)
		fprintf(out, "  from %" PRIu64 ", %" PRIu32 " pieces, one every %" PRIu64,
			s->src_offset, s->rows, s->src_stride);
	else if (!is_whole(inv, s))
		fprintf(out, "  from %" PRIu64, s->src_offset);
	putc('\n', out);
}

/* The names of a parameter's transforms, each once. */
static void put_transforms(FILE *out, const struct wload_param *p)
{
	uint32_t seen;

	for (uint32_t i = 0; i < p->step_count; i++) {
		for (seen = 0; strcmp(p->steps[seen].name, p->steps[i].name) != 0;)
			seen++;
		if (seen == i)
			fprintf(out, "%s%s", i ? ", " : "  ", p->steps[i].name);
	}
}

static void put_param(FILE *out, const struct wload_inventory *inv, const struct wload_param *p,
		      struct widths w)
{
	bool obvious = p->source_count == 1 && !p->step_count && is_whole(inv, p->sources);
	uint32_t shown = p->source_count > SOURCES_MAX ? SOURCES_SHOWN : p->source_count, i;
	int pad;

	put_name(out, p->name, w.name);
	fprintf(out, "  %-11s  ", wload_dtype_describe(p->dtype)->name);
	for (pad = w.shape - put_shape(out, p); pad > 0; pad--)
		putc(' ', out);
	fprintf(out, "  %15" PRIu64, p->bytes);
	put_transforms(out, p);
	putc('\n', out);
	for (i = 0; !obvious && i < shown; i++)
		put_source(out, inv, &p->sources[i], w);
	if (!obvious && shown < p->source_count)
		fprintf(out, "  and %" PRIu32 " more\n", p->source_count - shown);
}

static void put_unused(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan)
{
	uint32_t i;

	for (i = 0; i < wload_inventory_count(inv); i++) {
		if (!wload_plan_unused(plan, i))
			continue;
		fputs("unused: ", out);
		put_name(out, wload_inventory_tensor(inv, i).name, 0);
		putc('\n', out);
	}
}

int plan_print_table(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan)
{
	const struct plan_counts n = plan_counts(inv, plan);
	const struct widths w = measure(plan);
	uint32_t i;

	fprintf(out, "%-*s  %-11s  %-*s  %15s\n", w.name, "PARAMETER", "DTYPE", w.shape, "SHAPE",
		"BYTES");
	for (i = 0; i < n.parameters; i++)
		put_param(out, inv, wload_plan_param(plan, i), w);
	put_unused(out, inv, plan);
	fputs("family ", out);
	put_name(out, wload_plan_family(plan), 0);
	if (wload_plan_tp(plan) > 1)
		fprintf(out, ", rank %" PRIu32 " of %" PRIu32, wload_plan_rank(plan),
			wload_plan_tp(plan));
	if (wload_plan_ep(plan) > 1)
		fprintf(out, ", ep %" PRIu32, wload_plan_ep(plan));
	if (wload_plan_layout(plan) != WLOAD_LAYOUT_TRTLLM)
		fprintf(out, ", layout %s", wload_layout_name(wload_plan_layout(plan)));
	fprintf(out,
		": %" PRIu32 " parameters of %" PRIu64 " bytes, %" PRIu32
		" of them fused, from %" PRIu32 " tensors, %" PRIu32 " unused",
		n.parameters, wload_plan_bytes(plan), n.fused, n.tensors, n.unused);
	if (n.elsewhere)
		fprintf(out, ", %" PRIu32 " of other ranks only", n.elsewhere);
	putc('\n', out);
	if (wload_plan_note(plan)) {
		fputs("note: ", out);
		put_name(out, wload_plan_note(plan), 0);
		putc('\n', out);
	}
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
