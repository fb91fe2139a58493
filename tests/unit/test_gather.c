/* SPDX-License-Identifier: Apache-2.0 */
/* fs/gather: every window of a parameter is what placing its sources byte by byte gives.
 *
 * The one idea: a tensor's byte tells which tensor and offset it is of, so that the whole parameter
 * can be made by a loop that knows no windows, gaps or bounce buffers. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/gather.h"
#include "tap.h"

#define SOURCES_MAX 4

static uint8_t byte_of(uint32_t tensor, uint64_t offset)
{
	return (uint8_t)(offset * 31 + offset / 251 + tensor * 97 + 1);
}

/* How the reader was asked. */
struct asked {
	unsigned int reads;
	uint64_t hinted; /* bytes */
	int fail;	 /* what it returns */
};

static int read_tensor(void *ctx, uint32_t tensor, uint64_t offset, size_t len, uint8_t *buf)
{
	struct asked *asked = ctx;

	asked->reads++;
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_of(tensor, offset + i);
	return asked->fail;
}

static void hint_tensor(void *ctx, uint32_t tensor, uint64_t offset, size_t len)
{
	struct asked *asked = ctx;

	(void)tensor;
	(void)offset;
	asked->hinted += len;
}

static const struct row {
	const char *name;
	struct wload_source sources[SOURCES_MAX]; /* tensor, rows, src, stride, dst, bytes */
	uint32_t count;
	uint64_t bytes;
	unsigned int reads; /* that reading all of it takes; 0: not looked at */
	uint64_t hinted;    /* bytes of it that are told before */
} rows[] = {
	{"one whole tensor", {{3, 1, 0, 0, 0, 5000}}, 1, 5000, 1, 0},
	{"two, one behind the other", {{0, 1, 7, 0, 0, 300}, {1, 1, 0, 0, 300, 200}}, 2, 500, 2, 0},
	{"an empty one between",
	 {{0, 1, 0, 0, 0, 10}, {1, 1, 0, 0, 10, 0}, {2, 1, 0, 0, 10, 20}},
	 3,
	 30,
	 2,
	 0},
	{"short pieces, close together: one read", {{2, 100, 5, 64, 0, 1600}}, 1, 1600, 1, 0},
	{"pieces of one byte", {{2, 999, 1, 3, 0, 999}}, 1, 999, 1, 0},
	{"pieces far apart: a read each", {{2, 8, 0, 100000, 0, 8 * 96}}, 1, 8 * 96, 8, 8 * 96},
	{"long pieces, close together",
	 {{1, 3, 9, 130000, 0, 390000 - 3 * 400}},
	 1,
	 390000 - 3 * 400,
	 3,
	 390000 - 3 * 400},
	{"more than the bounce buffer holds",
	 {{1, 4096, 0, 256, 0, 4096 * 128}},
	 1,
	 4096 * 128,
	 9,
	 0},
	{"pieces without gaps", {{1, 16, 0, 64, 0, 1024}}, 1, 1024, 1, 0},
	{"strided, then whole",
	 {{0, 10, 3, 30, 0, 100}, {1, 1, 50, 0, 100, 77}, {0, 10, 13, 30, 177, 100}},
	 3,
	 277,
	 3,
	 0},
	{"gaps in the staging area are zeros",
	 {{0, 1, 0, 0, 16, 5}, {1, 4, 0, 9, 32, 20}},
	 2,
	 64,
	 2,
	 0},
	{"no sources", {{0}}, 0, 40, 0, 0},
};

/* The whole, byte by byte. */
static uint8_t *place(const struct row *row)
{
	uint8_t *all = calloc(row->bytes + 1, 1);

	for (uint32_t s = 0; all && s < row->count; s++) {
		const struct wload_source *source = &row->sources[s];
		uint64_t piece = source->bytes / source->rows;

		for (uint64_t i = 0; i < source->bytes; i++)
			all[source->dst_offset + i] = byte_of(
				source->tensor,
				source->src_offset + i / piece * source->src_stride + i % piece);
	}
	return all;
}

static bool is_window(const struct row *row, const uint8_t *all, uint64_t lo, uint64_t hi,
		      struct asked *asked)
{
	struct wload_param param = {.name = "p",
				    .sources = row->sources,
				    .source_count = row->count,
				    .bytes = row->bytes};
	struct gather gather = {&param, read_tensor, asked, hint_tensor};
	uint8_t *buf = malloc(hi - lo + 1);
	bool same = buf && gather_read(&gather, lo, hi - lo, buf) == 0 &&
		    memcmp(buf, all + lo, hi - lo) == 0;

	free(buf);
	return same;
}

static void check_row(struct tap *tap, const struct row *row)
{
	uint8_t *all = place(row);
	struct asked asked = {0}, some = {0};
	bool right = all && is_window(row, all, 0, row->bytes, &asked);
	uint64_t step = row->bytes / 23 + 1;

	for (uint64_t lo = 0; right && lo < row->bytes; lo += step)
		for (uint64_t hi = lo; right && hi <= row->bytes; hi += step + lo % 3)
			right = is_window(row, all, lo, hi, &some);
	ok(tap, right && (!row->reads || asked.reads == row->reads) && asked.hinted == row->hinted,
	   "%s: %u reads", row->name, asked.reads);
	free(all);
}

/* Rows of the staging area, dense; close ones, far ones, one. */
static void check_rows(struct tap *tap)
{
	static const struct {
		const char *name;
		uint64_t offset, stride;
		size_t piece, rows;
	} shapes[] = {
		{"one row", 5, 100, 40, 1},
		{"close rows", 3, 16, 4, 30000},
		{"rows without gaps", 1, 8, 8, 1000},
		{"far rows", 0, 40000, 10, 12},
		{"no rows", 0, 10, 4, 0},
	};
	struct row row = {
		"", {{0, 1, 0, 0, 0, 400000}, {1, 500, 0, 300, 400000, 100000}}, 2, 500000, 0, 0};
	struct wload_param param = {.name = "p", .sources = row.sources, .source_count = 2};
	struct asked asked = {0};
	struct gather gather = {&param, read_tensor, &asked, NULL};
	struct wload_error err = {0};
	uint8_t *all = place(&row), *buf = malloc(500000);

	for (size_t i = 0; all && buf && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		bool right = gather_rows(&gather, shapes[i].offset, shapes[i].piece, shapes[i].rows,
					 shapes[i].stride, buf, NULL) == 0;

		for (size_t r = 0; right && r < shapes[i].rows; r++)
			right = memcmp(buf + r * shapes[i].piece,
				       all + shapes[i].offset + r * shapes[i].stride,
				       shapes[i].piece) == 0;
		ok(tap, right, "rows: %s", shapes[i].name);
	}
	asked.fail = -EIO;
	ok(tap,
	   gather_rows(&gather, 0, 4, 4, 16, buf, &err) == -EIO &&
		   strcmp(err.text, "parameter 'p': Input/output error") == 0,
	   "rows: what the reader says, in words: %s", err.text);
	free(all);
	free(buf);
}

struct touched {
	uint32_t tensor[8];
	uint64_t lo[8], hi[8];
	unsigned int count;
};

static void touch(void *ctx, uint32_t tensor, uint64_t lo, uint64_t hi)
{
	struct touched *t = ctx;

	t->tensor[t->count] = tensor;
	t->lo[t->count] = lo;
	t->hi[t->count++] = hi;
}

static void check_touched(struct tap *tap)
{
	struct wload_source sources[] = {{0, 1, 5, 0, 0, 100}, {1, 10, 0, 30, 100, 100}};
	struct wload_step step = {.name = "transpose"};
	struct wload_param param = {
		.sources = sources, .source_count = 2, .bytes = 200, .staged_bytes = 200};
	struct touched t = {.count = 0};

	gather_touched(&param, 90, 30, touch, &t);
	ok(tap,
	   t.count == 2 && t.tensor[0] == 0 && t.lo[0] == 95 && t.hi[0] == 105 &&
		   t.tensor[1] == 1 && t.lo[1] == 0 && t.hi[1] == 40,
	   "touched: the window's bytes, of strided ones the span");
	t = (struct touched){.count = 0};
	gather_touched(&param, 200, 10, touch, &t);
	ok(tap, t.count == 0, "touched: nothing behind the end");
	param.step_count = 1;
	param.steps = &step;
	t = (struct touched){.count = 0};
	gather_touched(&param, 0, 1, touch, &t);
	ok(tap, t.count == 2 && t.hi[0] == 105 && t.hi[1] == 280,
	   "touched: of a parameter with steps all of its sources");
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	check_rows(&tap);
	check_touched(&tap);
	return tap_done(&tap);
}
