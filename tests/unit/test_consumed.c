/* SPDX-License-Identifier: Apache-2.0 */
/* fs/consumed.c: the bits against a plain array, and which pages a run leaves to nobody. */

#include <stdlib.h>
#include <string.h>

#include "fs/consumed.h"
#include "make_inventory.h"
#include "tap.h"

#define COUNT 300

static struct wload_inventory *numbered(uint64_t bytes)
{
	static char names[COUNT][16];
	static struct made_tensor made[COUNT];

	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "t%03d", i);
		made[i] = (struct made_tensor){names[i], bytes};
	}
	return make_inventory(made, COUNT);
}

/* Whether runs and counts agree with the plain array, everywhere. */
static bool agrees(const struct consumed *consumed, const bool *plain)
{
	uint32_t tensors = 0, from = 0;
	struct consumed_run run;

	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t first = i, end = i;

		tensors += plain[i];
		if (consumed_has(consumed, i) != plain[i])
			return false;
		if (!plain[i])
			continue;
		while (first > 0 && plain[first - 1])
			first--;
		while (end < COUNT && plain[end])
			end++;
		run = consumed_run_around(consumed, i, 0, COUNT);
		if (run.first != first || run.end != end)
			return false;
		if (i != first)
			continue;
		if (!consumed_next_run(consumed, from, COUNT, &run) || run.first != first ||
		    run.end != end)
			return false;
		from = end;
	}
	return consumed->tensors == tensors && consumed->bytes == tensors * 10ull &&
	       !consumed_next_run(consumed, from, COUNT, &run);
}

static void test_random(struct tap *tap, unsigned int seed)
{
	struct wload_inventory *inv = numbered(10);
	struct consumed consumed;
	bool plain[COUNT] = {0}, same = consumed_init(&consumed, inv) == 0;

	srand(seed);
	for (int step = 0; same && step < 2000; step++) {
		uint32_t i = (uint32_t)rand() % COUNT;
		bool set = rand() % 3 != 0;
		bool changed = set ? consumed_set(&consumed, i) : consumed_clear(&consumed, i);

		same = changed == (plain[i] != set);
		plain[i] = set;
		same = same && agrees(&consumed, plain);
	}
	ok(tap, same, "2000 random steps agree with a plain array (seed %u)", seed);
	consumed_free(&consumed);
	inventory_free(inv);
}

static const struct {
	const char *name;
	uint64_t bytes; /* of each tensor; data begins at TEST_DATA_OFFSET */
	uint32_t consumed[4], count;
	uint32_t tensor; /* the run around this one */
	struct page_range want;
} rows[] = {
	{"a tensor inside one page leaves nothing to nobody", 100, {5}, 1, 5, {4096, 4096}},
	{"an unaligned tensor leaves its whole pages", 10000, {1}, 1, 1, {12288, 20480}},
	{"two neighbours leave the page between them too", 10000, {1, 2}, 2, 1, {12288, 28672}},
	{"neighbours that are live keep their border pages", 10000, {1, 3}, 2, 3, {32768, 40960}},
	{"a run that begins on a page leaves that too", 3096, {1, 2, 3}, 3, 1, {4096, 12288}},
	{"the last tensor reaches the file's end", 10000, {299}, 1, 299, {2994176, 3001000}},
};

static void test_pages(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wload_inventory *inv = numbered(rows[i].bytes);
		struct shard_extent shard = {0, COUNT, TEST_DATA_OFFSET + COUNT * rows[i].bytes};
		struct consumed consumed;
		struct page_range got;

		consumed_init(&consumed, inv);
		for (uint32_t c = 0; c < rows[i].count; c++)
			consumed_set(&consumed, rows[i].consumed[c]);
		got = consumed_dead_pages(&consumed,
					  consumed_run_around(&consumed, rows[i].tensor, 0, COUNT),
					  &shard, 4096);
		if (rows[i].want.lo == rows[i].want.hi)
			ok(tap, got.lo == got.hi, "%s", rows[i].name);
		else
			ok(tap, got.lo == rows[i].want.lo && got.hi == rows[i].want.hi,
			   "%s (%llu-%llu)", rows[i].name, (unsigned long long)got.lo,
			   (unsigned long long)got.hi);
		consumed_free(&consumed);
		inventory_free(inv);
	}
}

/* Tensors 1 and 3 are consumed, 2 has no bytes and 0 and 4 are live. */
static void test_empty(struct tap *tap)
{
	static const struct made_tensor made[] = {
		{"a", 10000}, {"b", 10000}, {"c", 0}, {"d", 10000}, {"e", 10000}};
	struct wload_inventory *inv = make_inventory(made, 5);
	struct shard_extent shard = {0, 5, TEST_DATA_OFFSET + 40000};
	struct consumed consumed;
	struct page_range dead;
	uint32_t d = 3;

	consumed_init(&consumed, inv);
	consumed_set(&consumed, 1);
	consumed_set(&consumed, d);
	dead = consumed_dead_pages(&consumed, consumed_run_around(&consumed, d, 0, 5), &shard,
				   4096);
	ok(tap, dead.lo == 12288 && dead.hi == 28672,
	   "a live tensor without bytes keeps no page (%llu-%llu)", (unsigned long long)dead.lo,
	   (unsigned long long)dead.hi);
	ok(tap, !consumed_has(&consumed, 2), "and is not consumed");
	consumed_set(&consumed, 0);
	consumed_set(&consumed, 4);
	dead = consumed_dead_pages(&consumed, (struct consumed_run){0, 5}, &shard, 4096);
	ok(tap, dead.lo == 4096 && dead.hi == shard.bytes, "the header stays for it");
	consumed_set(&consumed, 2);
	dead = consumed_dead_pages(&consumed, (struct consumed_run){0, 5}, &shard, 4096);
	ok(tap, dead.lo == 0 && dead.hi == shard.bytes, "and goes with it");
	consumed_free(&consumed);
	inventory_free(inv);
}

static void test_whole_shard(struct tap *tap)
{
	struct wload_inventory *inv = numbered(10000);
	struct shard_extent shard = {0, COUNT, TEST_DATA_OFFSET + COUNT * 10000};
	struct consumed consumed;
	struct wload_tensor t = wload_inventory_tensor(inv, 7);
	struct page_range dead, near;

	consumed_init(&consumed, inv);
	for (uint32_t i = 0; i < COUNT; i++)
		consumed_set(&consumed, i);
	dead = consumed_dead_pages(&consumed, (struct consumed_run){0, COUNT}, &shard, 4096);
	near = consumed_near(dead, &t, 4096, 4096);
	ok(tap, dead.lo == 0 && dead.hi == shard.bytes,
	   "after the last tensor the header goes too");
	ok(tap, near.lo == 0 && near.hi == shard.bytes, "a whole file is not cut");
	consumed_clear(&consumed, 0);
	dead = consumed_dead_pages(&consumed, (struct consumed_run){1, COUNT}, &shard, 4096);
	near = consumed_near(dead, &t, 8192, 4096);
	ok(tap, near.lo == 69632 - 8192 && near.hi == 81920 + 8192,
	   "a long run is cut to the reach of folios (%llu-%llu)", (unsigned long long)near.lo,
	   (unsigned long long)near.hi);
	consumed_free(&consumed);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	test_random(&tap, 1);
	test_random(&tap, 2);
	test_pages(&tap);
	test_empty(&tap);
	test_whole_shard(&tap);
	return tap_done(&tap);
}
