/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/watch_frame: bars tell the truth at any width, and a frame fits any terminal. */

#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/watch_frame.h"
#include "tap.h"

#define MANY 40

static const struct {
	const char *name;
	uint64_t bytes, consumed, resident;
	unsigned int cells;
	const char *want;
} bars[] = {
	{"live", 100, 0, 0, 10, "=========="},
	{"consumed", 100, 100, 0, 10, ".........."},
	{"live and cached", 100, 0, 100, 10, "##########"},
	{"each a part", 100, 30, 20, 10, "...##====="},
	{"consumed, and the rest cached", 100, 30, 70, 10, "...#######"},
	{"thirds, nothing else", 3, 1, 2, 10, "...#######"},
	{"more cached than is live is somebody else's", 100, 60, 100, 10, "......####"},
	{"a byte of each has a cell", 1000000, 1, 1, 10, ".#========"},
	{"all but a byte is not all", 1000000, 999999, 0, 10, ".........="},
	{"all but a byte cached is not all", 1000000, 0, 999999, 10, "#########="},
	{"a byte left and cached", 1000000, 999999, 1, 10, ".........#"},
	{"three cells", 1000000, 1, 999998, 3, ".#="},
	{"no bytes at all", 0, 0, 0, 4, "===="},
	{"no cells", 100, 50, 50, 0, ""},
	{"the largest", UINT64_MAX, UINT64_MAX / 2, UINT64_MAX / 4, 8, "....##=="},
};

static struct layers make_layers(size_t count, size_t consumed)
{
	struct layers layers = {.rows = calloc(count, sizeof(*layers.rows)), .count = count};

	for (size_t i = 0; layers.rows && i < count; i++) {
		struct layer *l = &layers.rows[i];

		l->tensors = 9;
		l->bytes = 9000000;
		l->consumed_tensors = i < consumed ? 9 : i == consumed ? 3 : 0;
		l->consumed_bytes = l->consumed_tensors * 1000000;
		if (i == consumed + 1)
			l->resident_bytes = 4500000;
		/* two columns a character */
		if (asprintf(&l->name, i == 20 ? "模型の層.%zu" : "model.layers.%zu", i) < 0)
			l->name = NULL;
	}
	return layers;
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* In columns. */
static size_t longest_line(const char *text)
{
	size_t longest = 0, here = 0;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		here = c == '\n' ? 0 : here + ((c & 0xc0) != 0x80) + (c >= 0xe3);
		longest = here > longest ? here : longest;
	}
	return longest;
}

static const char stats[] =
	"{\"tensors\": 360, \"bytes\": 360000000, \"consumed_tensors\": 93,"
	" \"consumed_bytes\": 93000000, \"resident_bytes\": 4500000, \"held_bytes\": 0,"
	" \"evicted_bytes\": 93000000, \"served_bytes\": 0, \"ranks\": 2, \"rank\": 1,"
	" \"claims\": [{\"rank\": 0, \"tensors\": 267}, {\"rank\": 1, \"tensors\": 3}],"
	" \"budget\": {\"limit_bytes\": 1000000}}";

static const struct {
	const char *name;
	unsigned int columns, lines;
	bool layers;
	const char *has[4], *lacks[2];
} frames[] = {
	{"all of it",
	 100,
	 FRAME_UNBOUNDED,
	 true,
	 {"/mnt/w\\x1b, rank 1 of 2  12:00:00\n",
	  "] 93 of 360 tensors, 93.0 MB of 360 MB consumed\n",
	  "\nmodel.layers.10 [................====", "tensors that ranks still claim: 267 3\n"},
	 {"left out"}},
	{"without layers, the numbers alone",
	 100,
	 24,
	 false,
	 {"budget limit", "evicted", "consumed"},
	 {"layers", "left out"}},
	{"folded to 24 lines",
	 80,
	 24,
	 true,
	 {"\nmodel.layers.10 [", "\nmodel.layers.11 [", "more left out: 10 consumed, "},
	 {"model.layers.9 "}},
	{"folded to 8 lines",
	 80,
	 8,
	 true,
	 {"numbers are left out\n", "40 layers are left out\n"},
	 {"model.layers.10"}},
	{"a wide name is as wide as others",
	 100,
	 FRAME_UNBOUNDED,
	 true,
	 {"\n模型の層.20     [", "\nmodel.layers.21 ["},
	 {0}},
	{"narrow", 40, 24, true, {"…el.layers.11 [#####======]", " 6 left\n"}, {"of 9.00 MB"}},
};

static void check_frames(struct tap *tap, const struct frame *frame)
{
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct text text CLEANUP(text_free) = {0};
		struct frame f = *frame;

		f.columns = frames[i].columns;
		f.lines = frames[i].lines;
		f.layers = frames[i].layers ? frame->layers : NULL;
		watch_frame(&f, &text);
		for (int k = 0; k < 4 && frames[i].has[k]; k++)
			if (!ok(tap, strstr(text.s, frames[i].has[k]) != NULL, "frame: %s: %d",
				frames[i].name, k))
				printf("# lacks '%s'\n%s", frames[i].has[k], text.s);
		for (int k = 0; k < 2 && frames[i].lacks[k]; k++)
			if (!ok(tap, !strstr(text.s, frames[i].lacks[k]), "frame: %s: not %d",
				frames[i].name, k))
				printf("# has '%s'\n%s", frames[i].lacks[k], text.s);
	}
}

/* Every size of terminal; from 4 lines on nothing is wrapped or scrolled. */
static void check_sizes(struct tap *tap, const struct frame *frame)
{
	unsigned int columns, lines;
	bool fits = true;

	for (columns = 1; fits && columns < 200; columns += columns < 50 ? 1 : 7)
		for (lines = 4; fits && lines < 70; lines++) {
			struct text text CLEANUP(text_free) = {0};
			struct frame f = *frame;

			f.columns = columns;
			f.lines = lines;
			watch_frame(&f, &text);
			fits = !text.failed && count_lines(text.s) < lines &&
			       longest_line(text.s) < columns;
			if (!fits)
				printf("# %u columns, %u lines\n%s", columns, lines, text.s);
		}
	ok(tap, fits, "frame: fits terminals of every size");
}

int main(void)
{
	struct layers layers = make_layers(MANY, 10);
	struct wload_error err = {0};
	struct numbers numbers;
	struct tap tap = {0};
	struct frame frame = {
		.path = "/mnt/w\x1b", .time = "12:00:00", .numbers = &numbers, .layers = &layers};

	for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
		struct text text CLEANUP(text_free) = {0};

		text_add(&text, "", 0);
		watch_bar(bars[i].bytes, bars[i].consumed, bars[i].resident, bars[i].cells, &text);
		ok(&tap, !strcmp(text.s, bars[i].want), "bar: %s: '%s'", bars[i].name, text.s);
	}
	if (ok(&tap, numbers_parse(stats, &numbers, &err) == 0, "numbers %s", err.text)) {
		check_frames(&tap, &frame);
		check_sizes(&tap, &frame);
	}
	numbers_free(&numbers);
	layers_free(&layers);
	return tap_done(&tap);
}
