/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/reads.c: rows that show each rule, then random ranges, of which every wanted byte
 * must be placed once, from the place on disk that it has. */

#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/reads.h"
#include "tap.h"

#define WANTS_MAX 8

static const struct row {
	const char *name;
	struct reads_want wants[WANTS_MAX]; /* file_offset, bytes, dst_offset, shard, param */
	size_t count;
	size_t chunks, places;
	uint64_t read_bytes;
	uint32_t first_bytes; /* of the first chunk */
	bool exact;	      /* the first chunk */
} rows[] = {
	{"nothing wanted", {{0}}, 0, 0, 0, 0, 0, false},
	{"one range", {{8, 100, 0, 0, 0}}, 1, 1, 1, 100, 100, true},
	{"adjacent ranges of two parameters are one read",
	 {{8, 4, 0, 0, 0}, {12, 4, 0, 0, 1}},
	 2,
	 1,
	 2,
	 8,
	 8,
	 true},
	{"in any order", {{12, 4, 0, 0, 1}, {8, 4, 0, 0, 0}}, 2, 1, 2, 8, 8, true},
	{"a gap is not read", {{8, 4, 0, 0, 0}, {16, 4, 4, 0, 0}}, 2, 2, 2, 8, 4, true},
	{"shards are not joined", {{8, 4, 0, 0, 0}, {12, 4, 0, 1, 1}}, 2, 2, 2, 8, 4, true},
	{"a range is cut at multiples of the chunk",
	 {{1000, 2048, 0, 0, 0}},
	 1,
	 3,
	 3,
	 2048,
	 24,
	 true},
	{"a shared range is read once and placed twice",
	 {{0, 64, 0, 0, 0}, {0, 64, 32, 0, 1}},
	 2,
	 1,
	 2,
	 64,
	 64,
	 false},
	{"overlapping ranges", {{0, 64, 0, 0, 0}, {32, 64, 0, 0, 1}}, 2, 1, 2, 96, 96, false},
	{"a range inside of another",
	 {{0, 64, 0, 0, 0}, {8, 8, 0, 0, 1}, {60, 8, 8, 0, 1}},
	 3,
	 1,
	 3,
	 68,
	 68,
	 false},
};

static void check_row(struct tap *tap, const struct row *row)
{
	struct reads_want wants[WANTS_MAX];
	struct wload_error err = {0};
	struct reads reads;
	bool pass;

	memcpy(wants, row->wants, sizeof(wants));
	pass = reads_build(wants, row->count, 1024, &reads, &err) == 0;
	if (pass) {
		pass = reads.chunk_count == row->chunks && reads.place_count == row->places &&
		       reads.read_bytes == row->read_bytes;
		if (pass && row->chunks)
			pass = reads.chunks[0].bytes == row->first_bytes &&
			       reads.chunks[0].exact == row->exact;
		reads_free(&reads);
	}
	ok(tap, pass, "reads: %s", row->name);
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

static void make_wants(struct trial *t, unsigned int *seed)
{
	size_t tries = (size_t)rand_r(seed) % (PARAMS * 4);

	for (size_t i = 0; i < tries; i++) {
		uint32_t param = (uint32_t)rand_r(seed) % PARAMS;
		uint64_t most = rand_r(seed) % 4 ? 700 : 8;
		struct reads_want w = {.shard = (uint32_t)rand_r(seed) % SHARDS, .param = param};

		w.bytes = 1 + (uint64_t)rand_r(seed) % most;
		if (t->used[param] + w.bytes > PARAM_BYTES)
			continue;
		/* Multiples of 50 make neighbours and shared ranges likely. */
		w.file_offset = (uint64_t)rand_r(seed) % ((SHARD_BYTES - 800) / 50) * 50;
		w.dst_offset = t->used[param];
		t->used[param] += w.bytes;
		t->wants[t->count++] = w;
		memset(&t->wanted[w.shard][w.file_offset], 1, w.bytes);
	}
}

static bool play_chunk(struct trial *t, const struct reads *reads, const struct reads_chunk *c,
		       uint32_t chunk_bytes)
{
	uint64_t covered = 0;

	if (c->bytes == 0 ||
	    c->file_offset / chunk_bytes != (c->file_offset + c->bytes - 1) / chunk_bytes)
		return false;
	for (uint64_t i = 0; i < c->bytes; i++)
		if (!t->wanted[c->shard][c->file_offset + i])
			return false;
	for (uint32_t p = c->first; p < c->end; p++) {
		const struct reads_place *place = &reads->places[p];

		if (place->src_offset + (uint64_t)place->bytes > c->bytes ||
		    place->dst_offset + place->bytes > PARAM_BYTES ||
		    (c->exact && place->src_offset != covered))
			return false;
		covered = place->src_offset + (uint64_t)place->bytes;
		for (uint32_t i = 0; i < place->bytes; i++) {
			t->got[place->param][place->dst_offset + i] =
				byte_at(c->shard, c->file_offset + place->src_offset + i);
			t->times[place->param][place->dst_offset + i]++;
		}
	}
	return !c->exact || covered == c->bytes;
}

static bool all_arrived(const struct trial *t, const struct reads_want *wants)
{
	for (size_t i = 0; i < t->count; i++)
		for (uint64_t b = 0; b < wants[i].bytes; b++)
			if (t->times[wants[i].param][wants[i].dst_offset + b] != 1 ||
			    t->got[wants[i].param][wants[i].dst_offset + b] !=
				    byte_at(wants[i].shard, wants[i].file_offset + b))
				return false;
	return true;
}

static uint64_t count_wanted(const struct trial *t)
{
	uint64_t sum = 0;

	for (uint32_t s = 0; s < SHARDS; s++)
		for (uint32_t i = 0; i < SHARD_BYTES; i++)
			sum += t->wanted[s][i];
	return sum;
}

static bool one_trial(struct trial *t, unsigned int seed)
{
	uint32_t chunk_bytes = 256u << (seed % 4);
	struct reads_want before[PARAMS * 4];
	struct wload_error err = {0};
	struct reads reads;
	bool pass = true;

	memset(t, 0, sizeof(*t));
	make_wants(t, &seed);
	memcpy(before, t->wants, sizeof(before));
	if (reads_build(t->wants, t->count, chunk_bytes, &reads, &err) < 0)
		return false;
	for (size_t c = 0; pass && c < reads.chunk_count; c++) {
		const struct reads_chunk *chunk = &reads.chunks[c];

		pass = play_chunk(t, &reads, chunk, chunk_bytes);
		if (c && chunk->shard == chunk[-1].shard)
			pass &= chunk->file_offset >= chunk[-1].file_offset + chunk[-1].bytes;
		else if (c)
			pass &= chunk->shard > chunk[-1].shard;
	}
	pass = pass && all_arrived(t, before) && reads.read_bytes == count_wanted(t);
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
	ok(&tap, sizeof(struct reads_place) <= 24 && sizeof(struct reads_chunk) <= 24,
	   "reads: a placement and a chunk take 24 bytes");
	free(trial);
	return tap_done(&tap);
}
