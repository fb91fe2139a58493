/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/reads.c: rows that show each rule, then random ranges and rows of pieces, of
 * which every wanted byte must be placed once, from the place on disk that it has. */

#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/reads.h"
#include "tap.h"

#define WANTS_MAX 8

static const struct row {
	const char *name;
	/* file_offset, bytes, dst_offset, shard, param, rows, stride */
	struct reads_want wants[WANTS_MAX];
	size_t count;
	size_t batches, places;
	uint64_t read_bytes;
	uint32_t first_bytes; /* of the first batch */
	bool exact;	      /* the first batch */
} rows[] = {
	{"nothing wanted", {{0}}, 0, 0, 0, 0, 0, false},
	{"one range", {{8, 100, 0, 0, 0, 0, 0}}, 1, 1, 1, 100, 100, true},
	{"adjacent ranges of two parameters are one read",
	 {{8, 4, 0, 0, 0, 0, 0}, {12, 4, 0, 0, 1, 0, 0}},
	 2,
	 1,
	 2,
	 8,
	 8,
	 true},
	{"in any order", {{12, 4, 0, 0, 1, 0, 0}, {8, 4, 0, 0, 0, 0, 0}}, 2, 1, 2, 8, 8, true},
	{"a gap is not read", {{8, 4, 0, 0, 0, 0, 0}, {16, 4, 4, 0, 0, 0, 0}}, 2, 2, 2, 8, 4, true},
	{"shards are not joined",
	 {{8, 4, 0, 0, 0, 0, 0}, {12, 4, 0, 1, 1, 0, 0}},
	 2,
	 2,
	 2,
	 8,
	 4,
	 true},
	{"a range is cut at multiples of the chunk",
	 {{1000, 2048, 0, 0, 0, 0, 0}},
	 1,
	 3,
	 3,
	 2048,
	 24,
	 true},
	{"a shared range is read once and placed twice",
	 {{0, 64, 0, 0, 0, 0, 0}, {0, 64, 32, 0, 1, 0, 0}},
	 2,
	 1,
	 2,
	 64,
	 64,
	 false},
	{"overlapping ranges",
	 {{0, 64, 0, 0, 0, 0, 0}, {32, 64, 0, 0, 1, 0, 0}},
	 2,
	 1,
	 2,
	 96,
	 96,
	 false},
	{"a range inside of another",
	 {{0, 64, 0, 0, 0, 0, 0}, {8, 8, 0, 0, 1, 0, 0}, {60, 8, 8, 0, 1, 0, 0}},
	 3,
	 1,
	 3,
	 68,
	 68,
	 false},
	{"rows are as many as fit in seven eighths, gaps included",
	 {{0, 640, 0, 0, 0, 10, 160}},
	 1,
	 2,
	 2,
	 640,
	 5 * 160 + 64,
	 true},
	{"rows without gaps are one range", {{0, 640, 0, 0, 0, 10, 64}}, 1, 1, 1, 640, 640, true},
	{"a row that is longer than a batch is cut",
	 {{1000, 2000, 0, 0, 0, 2, 5000}},
	 1,
	 4,
	 4,
	 2000,
	 24,
	 true},
	{"ranges beside rows are runs of their own",
	 {{0, 64, 0, 0, 0, 0, 0},
	  {64, 64, 0, 0, 1, 2, 32},
	  {64, 64, 0, 0, 2, 2, 100},
	  {192, 8, 0, 0, 3, 1, 0}},
	 4,
	 3,
	 4,
	 64 + 64 + 64 + 8,
	 128,
	 true},
};

static void check_row(struct tap *tap, const struct row *row)
{
	struct reads_batch batch = {0};
	struct reads_walk walk;
	struct reads reads;
	size_t batches = 0, places = 0;
	uint64_t bytes = 0;
	bool pass = true;

	if (reads_of(row->wants, row->count, 1024, &reads, NULL) < 0)
		abort();
	walk = reads_walk(&reads);
	while (reads_next(&walk, &batch) > 0) {
		if (batches++ == 0)
			pass = batch.bytes == row->first_bytes && batch.exact == row->exact;
		places += batch.place_count;
		bytes += reads_batch_wanted(&batch);
	}
	ok(tap,
	   pass && batches == row->batches && places == row->places &&
		   reads.read_bytes == row->read_bytes && bytes == row->read_bytes,
	   "reads: %s (%zu batches, %zu places)", row->name, batches, places);
	reads_batch_free(&batch);
	reads_free(&reads);
}

/* Many small ranges: the batch ends where a bound says so. */
static void check_places(struct tap *tap)
{
	size_t count = 5 * READS_PLACES_MAX + 7;
	struct reads_want *wants = calloc(count, sizeof(*wants));
	struct reads_batch batch = {0};
	struct reads_walk walk;
	struct reads reads;
	size_t most = 0, places = 0;
	uint64_t at = 0;
	bool in_order = true;

	for (size_t i = 0; i < count; i++)
		wants[i] = (struct reads_want){
			.file_offset = 8 + 4 * i, .bytes = 4, .param = (uint32_t)i};
	if (reads_of(wants, count, 1 << 20, &reads, NULL) < 0)
		abort();
	walk = reads_walk(&reads);
	while (reads_next(&walk, &batch) > 0) {
		most = batch.place_count > most ? batch.place_count : most;
		places += batch.place_count;
		in_order &= batch.file_offset >= at && batch.exact;
		at = batch.file_offset + batch.bytes;
	}
	ok(tap, in_order && places == count && most == READS_PLACES_MAX && at == 8 + 4 * count,
	   "reads: a batch has at most %d places (%zu)", READS_PLACES_MAX, most);
	reads_batch_free(&batch);
	reads_free(&reads);
	free(wants);
}

#define SHARDS	    3
#define SHARD_BYTES 20000
#define PARAMS	    40
#define PARAM_BYTES 4096

struct trial {
	struct reads_want wants[PARAMS * 4];
	size_t count;
	uint64_t used[PARAMS]; /* bytes that the wants take of each parameter */
	uint8_t wanted[SHARDS][SHARD_BYTES];
	uint16_t got[PARAMS][PARAM_BYTES];   /* what arrived, as a byte of its source + 1 */
	uint16_t times[PARAMS][PARAM_BYTES]; /* how often */
};

static uint8_t byte_at(uint32_t shard, uint64_t offset)
{
	return (uint8_t)(shard * 101 + offset * 31 + offset / 251);
}

static uint64_t piece_of(const struct reads_want *w)
{
	return w->bytes / (w->rows ? w->rows : 1);
}

static uint64_t src_of(const struct reads_want *w, uint64_t b)
{
	return w->file_offset + b / piece_of(w) * (w->rows > 1 ? w->stride : 0) + b % piece_of(w);
}

static void make_wants(struct trial *t, unsigned int *seed)
{
	size_t tries = (size_t)rand_r(seed) % (PARAMS * 4);

	for (size_t i = 0; i < tries; i++) {
		uint32_t param = (uint32_t)rand_r(seed) % PARAMS;
		uint64_t most = rand_r(seed) % 4 ? 700 : 8;
		struct reads_want w = {.shard = (uint32_t)rand_r(seed) % SHARDS, .param = param};

		w.bytes = 1 + (uint64_t)rand_r(seed) % most;
		if (rand_r(seed) % 4 == 0) {
			w.rows = 1 + (uint32_t)rand_r(seed) % 6;
			w.stride = w.bytes + (uint64_t)rand_r(seed) % 300;
			w.bytes *= w.rows;
		}
		if (t->used[param] + w.bytes > PARAM_BYTES)
			continue;
		/* Multiples of 50 make neighbours and shared ranges likely. */
		w.file_offset = (uint64_t)rand_r(seed) % ((SHARD_BYTES - 6000) / 50) * 50;
		w.dst_offset = t->used[param];
		t->used[param] += w.bytes;
		t->wants[t->count++] = w;
		for (uint64_t b = 0; b < w.bytes; b++)
			t->wanted[w.shard][src_of(&w, b)] = 1;
	}
}

static void arrive(struct trial *t, const struct reads_place *place, uint64_t i, uint8_t byte)
{
	t->got[place->param][place->dst_offset + i] = byte;
	t->times[place->param][place->dst_offset + i]++;
}

static bool play_rows(struct trial *t, const struct reads_batch *b, uint32_t batch_bytes)
{
	uint32_t piece = reads_batch_piece(b);

	if (b->place_count != 1 || b->places[0].src_offset ||
	    b->bytes != (b->rows - 1) * b->stride + piece || b->stride <= piece ||
	    b->bytes > batch_bytes - batch_bytes / 8 ||
	    b->places[0].dst_offset + b->places[0].bytes > PARAM_BYTES)
		return false;
	for (uint32_t i = 0; i < b->places[0].bytes; i++)
		arrive(t, &b->places[0], i,
		       byte_at(b->shard, b->file_offset + i / piece * b->stride + i % piece));
	return true;
}

/* Does it fit a slot when it is read in whole blocks? */
static bool fits(const struct reads_batch *b, uint32_t batch_bytes)
{
	uint64_t block = batch_bytes / 16, end = b->file_offset + b->bytes;

	return (end + block - 1) / block * block - b->file_offset / block * block <= batch_bytes;
}

static bool play_batch(struct trial *t, const struct reads_batch *b, uint32_t batch_bytes)
{
	uint64_t covered = 0;

	if (b->bytes == 0 || !fits(b, batch_bytes))
		return false;
	if (b->rows > 1)
		return play_rows(t, b, batch_bytes);
	for (uint64_t i = 0; i < b->bytes; i++)
		if (!t->wanted[b->shard][b->file_offset + i])
			return false;
	for (size_t p = 0; p < b->place_count; p++) {
		const struct reads_place *place = &b->places[p];

		if (place->src_offset + (uint64_t)place->bytes > b->bytes ||
		    place->dst_offset + place->bytes > PARAM_BYTES ||
		    (b->exact && place->src_offset != covered))
			return false;
		covered = place->src_offset + (uint64_t)place->bytes;
		for (uint32_t i = 0; i < place->bytes; i++)
			arrive(t, place, i,
			       byte_at(b->shard, b->file_offset + place->src_offset + i));
	}
	return !b->exact || covered == b->bytes;
}

static bool all_arrived(const struct trial *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct reads_want *w = &t->wants[i];

		for (uint64_t b = 0; b < w->bytes; b++)
			if (t->times[w->param][w->dst_offset + b] != 1 ||
			    t->got[w->param][w->dst_offset + b] != byte_at(w->shard, src_of(w, b)))
				return false;
	}
	return true;
}

static bool one_trial(struct trial *t, unsigned int seed)
{
	uint32_t batch_bytes = 256u << (seed % 4), shard = 0;
	struct reads_batch batch = {0};
	struct reads_walk walk;
	struct reads reads;
	uint64_t bytes = 0;
	bool pass = true;

	memset(t, 0, sizeof(*t));
	make_wants(t, &seed);
	if (reads_of(t->wants, t->count, batch_bytes, &reads, NULL) < 0)
		return false;
	walk = reads_walk(&reads);
	while (pass && reads_next(&walk, &batch) > 0) {
		pass = play_batch(t, &batch, batch_bytes) && batch.shard >= shard;
		shard = batch.shard;
		bytes += reads_batch_wanted(&batch);
	}
	pass = pass && all_arrived(t) && reads.read_bytes == bytes;
	reads_batch_free(&batch);
	reads_free(&reads);
	return pass;
}

int main(void)
{
	struct trial *trial = malloc(sizeof(*trial));
	struct tap tap = {0};
	unsigned int bad = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &rows[i]);
	for (unsigned int seed = 1; trial && seed <= 300; seed++)
		if (!one_trial(trial, seed) && !bad)
			bad = seed;
	ok(&tap, trial && !bad, "reads: every wanted byte is placed once (first bad seed: %u)",
	   bad);
	check_places(&tap);
	ok(&tap, sizeof(struct reads_place) <= 24, "reads: a placement takes 24 bytes");
	free(trial);
	return tap_done(&tap);
}
