/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of chunks, threaded by a list in order of reading (ledger.h). */

#include <errno.h>
#include <stdlib.h>

#include "fs/ledger.h"

#define BUCKETS_MIN 1024u

struct ledger_entry {
	uint64_t node, chunk;
	uint64_t pages;			    /* a bit each */
	struct ledger_entry *chained;	    /* in its bucket */
	struct ledger_entry *older, *newer; /* in order of reading */
};

/* ---- the table ---- */

static size_t bucket_of(const struct ledger *ledger, uint64_t node, uint64_t chunk)
{
	uint64_t hash = (node * UINT64_C(0x9e3779b97f4a7c15)) ^ chunk;

	hash *= UINT64_C(0xbf58476d1ce4e5b9);
	return (size_t)(hash >> 32) & (ledger->buckets - 1);
}

static struct ledger_entry **place_of(const struct ledger *ledger, uint64_t node, uint64_t chunk)
{
	struct ledger_entry **at = &ledger->bucket[bucket_of(ledger, node, chunk)];

	while (*at && ((*at)->node != node || (*at)->chunk != chunk))
		at = &(*at)->chained;
	return at;
}

/* Doubles the table where its chains grow long; without memory they just are. */
static void widen(struct ledger *ledger)
{
	struct ledger_entry **wider = calloc(ledger->buckets * 2, sizeof(*wider));

	if (!wider)
		return;
	free(ledger->bucket);
	ledger->bucket = wider;
	ledger->buckets *= 2;
	for (struct ledger_entry *e = ledger->oldest; e; e = e->newer) {
		size_t i = bucket_of(ledger, e->node, e->chunk);

		e->chained = ledger->bucket[i];
		ledger->bucket[i] = e;
	}
}

static void unlist(struct ledger *ledger, struct ledger_entry *e)
{
	*(e->older ? &e->older->newer : &ledger->oldest) = e->newer;
	*(e->newer ? &e->newer->older : &ledger->newest) = e->older;
}

static void list_newest(struct ledger *ledger, struct ledger_entry *e)
{
	e->older = ledger->newest;
	e->newer = NULL;
	*(e->older ? &e->older->newer : &ledger->oldest) = e;
	ledger->newest = e;
}

static void remove_entry(struct ledger *ledger, struct ledger_entry **place)
{
	struct ledger_entry *e = *place;

	*place = e->chained;
	unlist(ledger, e);
	ledger->count--;
	free(e);
}

/* The entry of a chunk, as the newest. NULL when memory is short. */
static struct ledger_entry *take_entry(struct ledger *ledger, uint64_t node, uint64_t chunk)
{
	struct ledger_entry **place = place_of(ledger, node, chunk), *e = *place;

	if (e) {
		unlist(ledger, e);
	} else {
		e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->node = node;
		e->chunk = chunk;
		*place = e;
		ledger->count++;
	}
	list_newest(ledger, e);
	if (ledger->count > ledger->buckets)
		widen(ledger);
	return e;
}

/* ---- pages ---- */

static uint64_t chunk_bytes(const struct ledger *ledger)
{
	return LEDGER_CHUNK_PAGES * ledger->page_bytes;
}

/* The pages [first, end) of the file that lie in a chunk, as bits. */
static uint64_t bits_in(uint64_t chunk, uint64_t first, uint64_t end)
{
	uint64_t base = chunk * LEDGER_CHUNK_PAGES;
	uint64_t lo = first > base ? first - base : 0;
	uint64_t hi = end - base < LEDGER_CHUNK_PAGES ? end - base : LEDGER_CHUNK_PAGES;

	if (end <= base || lo >= hi)
		return 0;
	return (hi - lo == 64 ? UINT64_MAX : ((UINT64_C(1) << (hi - lo)) - 1)) << lo;
}

static uint64_t bytes_of(const struct ledger *ledger, uint64_t pages)
{
	return (uint64_t)__builtin_popcountll(pages) * ledger->page_bytes;
}

/* ---- what is told and asked ---- */

int ledger_init(struct ledger *ledger, uint64_t page_bytes, uint64_t limit_bytes)
{
	*ledger = (struct ledger){
		.page_bytes = page_bytes,
		.limit_bytes = limit_bytes,
		.bucket = calloc(BUCKETS_MIN, sizeof(struct ledger_entry *)),
		.buckets = BUCKETS_MIN,
	};
	return ledger->bucket ? 0 : -ENOMEM;
}

void ledger_free(struct ledger *ledger)
{
	while (ledger->oldest) {
		struct ledger_entry *e = ledger->oldest;

		unlist(ledger, e);
		free(e);
	}
	free(ledger->bucket);
	*ledger = (struct ledger){0};
}

static bool is_leaving(const struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi)
{
	const struct ledger_range *r = &ledger->leaving;

	return r->node == node && r->lo < hi && r->hi > lo;
}

bool ledger_may_read(const struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi)
{
	uint64_t first = lo / ledger->page_bytes;
	uint64_t end = (hi + ledger->page_bytes - 1) / ledger->page_bytes, need = 0;

	if (is_leaving(ledger, node, lo, hi))
		return true;
	for (uint64_t c = first / LEDGER_CHUNK_PAGES; c * LEDGER_CHUNK_PAGES < end; c++) {
		const struct ledger_entry *e = *place_of(ledger, node, c);

		need += bytes_of(ledger, bits_in(c, first, end) & ~(e ? e->pages : 0));
	}
	return need == 0 || ledger->used_bytes + need <= ledger->limit_bytes;
}

int ledger_read(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi, uint64_t *ret_added)
{
	uint64_t first = lo / ledger->page_bytes;
	uint64_t end = (hi + ledger->page_bytes - 1) / ledger->page_bytes, added = 0;
	int r = 0;

	for (uint64_t c = first / LEDGER_CHUNK_PAGES; lo < hi && c * LEDGER_CHUNK_PAGES < end;
	     c++) {
		struct ledger_entry *e = take_entry(ledger, node, c);
		uint64_t bits = bits_in(c, first, end);

		if (!e) {
			r = -ENOMEM;
			break;
		}
		added += bytes_of(ledger, bits & ~e->pages);
		e->pages |= bits;
	}
	ledger->emptying = false;
	ledger->used_bytes += added;
	if (ledger->used_bytes > ledger->peak_bytes)
		ledger->peak_bytes = ledger->used_bytes;
	*ret_added = added;
	return r;
}

static void strike(struct ledger *ledger, struct ledger_entry **place, uint64_t bits)
{
	ledger->used_bytes -= bytes_of(ledger, (*place)->pages & bits);
	(*place)->pages &= ~bits;
	if (!(*place)->pages)
		remove_entry(ledger, place);
}

void ledger_forget(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi)
{
	uint64_t page = ledger->page_bytes;
	uint64_t first = lo / page + (lo % page != 0), end = hi / page;
	uint64_t c = first / LEDGER_CHUNK_PAGES, last = end / LEDGER_CHUNK_PAGES;
	struct ledger_entry *e, *next;

	if (last - c < ledger->count) {
		for (; c <= last && first < end; c++) {
			struct ledger_entry **place = place_of(ledger, node, c);

			if (*place)
				strike(ledger, place, bits_in(c, first, end));
		}
		return;
	}
	for (e = ledger->oldest; e; e = next) {
		next = e->newer;
		if (e->node == node && e->chunk >= c && e->chunk <= last)
			strike(ledger, place_of(ledger, node, e->chunk),
			       bits_in(e->chunk, first, end));
	}
}

bool ledger_wants(struct ledger *ledger)
{
	uint64_t staying = ledger->used_bytes - ledger->leaving_bytes;

	if (staying > ledger->limit_bytes / 8 * 7)
		ledger->draining = true;
	else if (staying <= ledger->limit_bytes / 4 * 3)
		ledger->draining = false;
	if (!ledger->oldest)
		ledger->emptying = false;
	return ledger->oldest && (ledger->draining || ledger->emptying);
}

void ledger_empty(struct ledger *ledger)
{
	ledger->emptying = true;
}

bool ledger_next(struct ledger *ledger, struct ledger_range *ret)
{
	struct ledger_entry *e = ledger->oldest;
	struct ledger_range range;

	if (!e)
		return false;
	range = (struct ledger_range){.node = e->node,
				      .lo = e->chunk * chunk_bytes(ledger),
				      .hi = e->chunk * chunk_bytes(ledger)};
	while (e && e->node == range.node && e->chunk * chunk_bytes(ledger) == range.hi &&
	       range.hi - range.lo < LEDGER_PIECE_BYTES) {
		range.hi += chunk_bytes(ledger);
		ledger->leaving_bytes += bytes_of(ledger, e->pages);
		remove_entry(ledger, place_of(ledger, e->node, e->chunk));
		e = ledger->oldest;
	}
	ledger->leaving = *ret = range;
	return true;
}

void ledger_drop(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi)
{
	ledger_forget(ledger, node, lo, hi);
	ledger->leaving = (struct ledger_range){node, lo, hi};
}

void ledger_left(struct ledger *ledger)
{
	ledger->used_bytes -= ledger->leaving_bytes;
	ledger->evicted_bytes += ledger->leaving_bytes;
	ledger->leaving_bytes = 0;
	ledger->leaving = (struct ledger_range){0};
}
