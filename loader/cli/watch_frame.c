/* SPDX-License-Identifier: Apache-2.0 */
/* Three parts share the lines: the head gets its two, and where not all fits, layers get half of
 * the others or what the numbers leave. Of layers those come first that something happens to. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/units.h"
#include "loader/cli/watch_frame.h"

enum {
	HEAD_LINES = 2,
	BAR_MIN = 8,
	BAR_MAX = 60,
	HEAD_BAR_MAX = 24,
	NAME_MIN = 8,
	GAP = 3, /* between two numbers */
};

/* " 12345 left   345 MB of 1.20 GB" behind a layer's bar, and what narrow terminals get of it. */
#define LAYER_WORDS	  33
#define LAYER_WORDS_SHORT 12

/* ---- bars ------------------------------------------------------------------------------------*/

static unsigned int share(uint64_t part, uint64_t whole, unsigned int cells)
{
	unsigned int n = (unsigned int)((double)part * cells / (double)whole);

	return part && n == 0 ? 1 : n;
}

static void add_cells(struct text *text, char c, unsigned int n)
{
	while (n--)
		text_add(text, &c, 1);
}

void watch_bar(uint64_t bytes, uint64_t consumed, uint64_t resident, unsigned int cells,
	       struct text *text)
{
	uint64_t live = bytes - consumed, cached = resident < live ? resident : live;
	unsigned int gone = bytes ? share(consumed, bytes, cells) : 0;
	unsigned int here = bytes ? share(cached, bytes, cells) : 0;
	unsigned int rest = cached < live; /* a cell at least */

	while (gone + here + rest > cells && gone + here)
		--*(gone > here ? &gone : &here);
	rest = cells - gone - here;
	if (bytes && cached == live && cached) /* rounding left some: there is nothing else */
		here += rest, rest = 0;
	else if (bytes && !live)
		gone += rest, rest = 0;
	add_cells(text, FRAME_CONSUMED, gone);
	add_cells(text, FRAME_CACHED, here);
	add_cells(text, FRAME_LIVE, rest);
}

/* ---- lines -----------------------------------------------------------------------------------*/

/* Bytes of the character of UTF-8 at s. */
static size_t char_len(const char *s)
{
	size_t len = 1;

	while (((unsigned char)s[len] & 0xc0) == 0x80)
		len++;
	return len;
}

/* Columns that it takes at most: from U+3000 on, private use aside, most take two. */
static size_t char_columns(const char *s)
{
	unsigned char lead = (unsigned char)*s;

	return lead >= 0xe3 && lead != 0xee ? 2 : 1;
}

/* Bytes of the first characters that fit so many columns. */
static size_t fitting(const char *s, size_t columns)
{
	size_t at = 0;

	while (s[at] && char_columns(s + at) <= columns) {
		columns -= char_columns(s + at);
		at += char_len(s + at);
	}
	return at;
}

static size_t count_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s += char_len(s))
		n += char_columns(s);
	return n;
}

/* What is left of s when so many columns, or one more, are taken from its begin. */
static const char *without(const char *s, size_t columns)
{
	for (size_t taken = 0; *s && taken < columns; s += char_len(s))
		taken += char_columns(s);
	return s;
}

/* Appends a line, cut where the terminal ends, and empties it. */
static void put_line(const struct frame *frame, struct text *line, struct text *text)
{
	const char *s = line->s ? line->s : "";

	text_add(text, s, fitting(s, frame->columns ? frame->columns - 1 : 0));
	text_add(text, "\n", 1);
	text->failed = text->failed || line->failed;
	text_free(line);
}

/* Cells of a bar beside so many columns of other things. */
static size_t room_for_bar(const struct frame *frame, size_t others)
{
	return frame->columns > others + BAR_MIN ? frame->columns - others : BAR_MIN;
}

/* ---- the head --------------------------------------------------------------------------------*/

static void put_head(const struct frame *frame, struct text *text)
{
	const struct numbers_sum *sum = &frame->numbers->sum;
	char consumed[UNITS_MAX], bytes[UNITS_MAX], words[128];
	size_t cells;
	struct text line = {0};

	units_name(&line, frame->path);
	if (sum->rank != UINT64_MAX)
		text_printf(&line, ", rank %" PRIu64 " of %" PRIu64, sum->rank, sum->ranks);
	else if (sum->ranks)
		text_printf(&line, ", %" PRIu64 " ranks", sum->ranks);
	text_printf(&line, "%s%s", *frame->time ? "  " : "", frame->time);
	put_line(frame, &line, text);
	units_bytes(sum->consumed_bytes, consumed);
	units_bytes(sum->bytes, bytes);
	(void)snprintf(words, sizeof(words),
		       "%" PRIu64 " of %" PRIu64 " tensors, %s of %s consumed",
		       sum->consumed_tensors, sum->tensors, consumed, bytes);
	cells = room_for_bar(frame, strlen("[]  ") + strlen(words));
	text_add(&line, "[", 1);
	watch_bar(sum->bytes < sum->consumed_bytes ? sum->consumed_bytes : sum->bytes,
		  sum->consumed_bytes, sum->resident_bytes == UINT64_MAX ? 0 : sum->resident_bytes,
		  cells < HEAD_BAR_MAX ? (unsigned int)cells : HEAD_BAR_MAX, &line);
	text_printf(&line, "] %s", words);
	put_line(frame, &line, text);
}

/* ---- the numbers -----------------------------------------------------------------------------*/

struct grid {
	size_t label, value; /* columns that they take */
	size_t across, rows;
};

static struct grid grid_of(const struct frame *frame)
{
	const struct numbers *n = frame->numbers;
	struct grid g = {0};

	for (size_t i = 0; i < n->count; i++) {
		size_t label = strlen(n->cells[i].label), value = strlen(n->cells[i].value);

		g.label = label > g.label ? label : g.label;
		g.value = value > g.value ? value : g.value;
	}
	if (g.value < strlen("999 MB"))
		g.value = strlen("999 MB"); /* what is 0 now moves nothing when it grows */
	g.across = (frame->columns + GAP) / (g.label + 1 + g.value + GAP);
	g.across = g.across ? g.across : 1;
	g.rows = (n->count + g.across - 1) / g.across;
	return g;
}

static size_t numbers_lines(const struct frame *frame)
{
	return 1 + grid_of(frame).rows + (frame->numbers->claims.len > 0);
}

static void put_left_out(const struct frame *frame, size_t count, const char *what,
			 struct text *text)
{
	struct text line = {0};

	text_printf(&line, "%zu %s%s left out", count, what, count == 1 ? " is" : "s are");
	put_line(frame, &line, text);
}

/* Puts so many lines of them. */
static void put_numbers(const struct frame *frame, size_t lines, struct text *text)
{
	const struct numbers *n = frame->numbers;
	struct grid g = grid_of(frame);
	bool all = lines >= numbers_lines(frame);
	size_t rows = all ? g.rows : lines > 2 ? lines - 2 : 0, i = 0;
	struct text line = {0};

	if (all || rows)
		put_line(frame, &line, text);
	for (size_t row = 0; row < rows; row++) {
		for (size_t k = 0; k < g.across && i < n->count; k++, i++)
			text_printf(&line, "%*s%-*s %*s", k ? GAP : 0, "", (int)g.label,
				    n->cells[i].label, (int)g.value, n->cells[i].value);
		put_line(frame, &line, text);
	}
	if (all && n->claims.len) {
		text_printf(&line, "tensors that ranks still claim: %s", n->claims.s);
		put_line(frame, &line, text);
	} else if (!all && lines) {
		put_left_out(frame, n->count - i + (n->claims.len > 0), "number", text);
	}
}

/* ---- the layers ------------------------------------------------------------------------------*/

/* What goes on in a layer; the lower ones are shown first where not all can be. */
enum phase { MOVING, LIVE, CONSUMED, PHASES };

static enum phase phase_of(const struct layer *layer)
{
	bool cached = layer->resident_bytes != UINT64_MAX && layer->resident_bytes;

	if (layer->consumed_tensors == layer->tensors && !cached)
		return CONSUMED;
	return layer->consumed_tensors || cached ? MOVING : LIVE;
}

static size_t layers_lines(const struct frame *frame)
{
	return frame->layers && frame->layers->count ? 2 + frame->layers->count : 0;
}

/* Which layers are shown: the first so many by phase. Returns flags, or NULL. */
static bool *choose(const struct layers *layers, size_t room)
{
	bool *shown = calloc(layers->count + 1, sizeof(*shown));

	for (int phase = MOVING; shown && phase < PHASES; phase++)
		for (size_t i = 0; i < layers->count && room; i++)
			if (phase_of(&layers->rows[i]) == (enum phase)phase) {
				shown[i] = true;
				room--;
			}
	return shown;
}

/* A name, its end where it is too long: there layers differ. */
static void add_name(struct text *line, const char *name, size_t columns)
{
	struct text plain CLEANUP(text_free) = {0};
	size_t wide;
	const char *end;

	units_name(&plain, name);
	if (plain.failed || !plain.s) {
		line->failed = line->failed || plain.failed;
		return;
	}
	wide = count_columns(plain.s);
	if (wide <= columns) {
		text_printf(line, "%s%*s", plain.s, (int)(columns - wide), "");
		return;
	}
	end = without(plain.s, wide - columns + 1);
	text_printf(line, "…%s%*s", end, (int)(columns - 1 - count_columns(end)), "");
}

static size_t name_columns(const struct frame *frame)
{
	size_t longest = NAME_MIN, most = frame->columns / 3;

	for (size_t i = 0; i < frame->layers->count; i++) {
		size_t wide = count_columns(frame->layers->rows[i].name);

		longest = wide > longest ? wide : longest;
	}
	return longest < most ? longest : most > NAME_MIN ? most : NAME_MIN;
}

static void put_layer(const struct frame *frame, const struct layer *layer, size_t name_width,
		      struct text *text)
{
	size_t used = name_width + strlen(" [] ");
	bool narrow = frame->columns < used + BAR_MIN + LAYER_WORDS;
	size_t cells = room_for_bar(frame, used + (narrow ? LAYER_WORDS_SHORT : LAYER_WORDS));
	char left[UNITS_MAX], bytes[UNITS_MAX];
	struct text line = {0};

	add_name(&line, layer->name, name_width);
	text_add(&line, " [", 2);
	watch_bar(layer->bytes, layer->consumed_bytes,
		  layer->resident_bytes == UINT64_MAX ? 0 : layer->resident_bytes,
		  cells < BAR_MAX ? (unsigned int)cells : BAR_MAX, &line);
	units_bytes(layer->bytes - layer->consumed_bytes, left);
	units_bytes(layer->bytes, bytes);
	text_printf(&line, "] %6" PRIu64 " left", layer->tensors - layer->consumed_tensors);
	if (!narrow)
		text_printf(&line, " %8s of %8s", left, bytes);
	put_line(frame, &line, text);
}

static void put_layers_left_out(const struct frame *frame, const bool *shown, struct text *text)
{
	size_t count[PHASES] = {0};
	struct text line = {0};

	for (size_t i = 0; i < frame->layers->count; i++)
		if (!shown[i])
			count[phase_of(&frame->layers->rows[i])]++;
	text_printf(&line, "%zu more left out: %zu consumed, %zu live, %zu in part or cached",
		    count[MOVING] + count[LIVE] + count[CONSUMED], count[CONSUMED], count[LIVE],
		    count[MOVING]);
	put_line(frame, &line, text);
}

static void put_rows(const struct frame *frame, size_t room, struct text *text)
{
	bool *shown CLEANUP_FREE = choose(frame->layers, room);
	size_t name_width = name_columns(frame);
	struct text line = {0};

	if (!shown) {
		text->failed = true;
		return;
	}
	put_line(frame, &line, text);
	text_printf(&line, "layers: %c consumed  %c live and cached  %c live", FRAME_CONSUMED,
		    FRAME_CACHED, FRAME_LIVE);
	put_line(frame, &line, text);
	for (size_t i = 0; i < frame->layers->count; i++)
		if (shown[i])
			put_layer(frame, &frame->layers->rows[i], name_width, text);
	if (room < frame->layers->count)
		put_layers_left_out(frame, shown, text);
}

/* Puts so many lines of them. */
static void put_layers(const struct frame *frame, size_t lines, struct text *text)
{
	size_t wanted = layers_lines(frame);

	if (lines >= wanted && wanted)
		put_rows(frame, frame->layers->count, text);
	else if (lines > 3)
		put_rows(frame, lines - 3, text);
	else if (lines)
		put_left_out(frame, frame->layers->count, "layer", text);
}

/* ---- the whole -------------------------------------------------------------------------------*/

void watch_frame(const struct frame *frame, struct text *text)
{
	size_t numbers = numbers_lines(frame), layers = layers_lines(frame), room, half;

	put_head(frame, text);
	if (frame->lines == FRAME_UNBOUNDED) {
		put_numbers(frame, numbers, text);
		put_layers(frame, layers, text);
		return;
	}
	room = frame->lines > HEAD_LINES + 1 ? frame->lines - HEAD_LINES - 1 : 0;
	if (numbers + layers > room) {
		half = numbers < room / 2 ? room - numbers : (room + 1) / 2;
		layers = layers < half ? layers : half;
		numbers = numbers < room - layers ? numbers : room - layers;
	}
	put_numbers(frame, numbers, text);
	put_layers(frame, layers, text);
}
