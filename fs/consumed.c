/* SPDX-License-Identifier: Apache-2.0 */
/* The consumed bits and the runs in them (see consumed.h). */

#include <errno.h>
#include <stdlib.h>

#include "fs/consumed.h"

#define WORD_BITS 64u

int consumed_init(struct consumed *consumed, const struct wload_inventory *inv)
{
	size_t words = (size_t)wload_inventory_count(inv) / WORD_BITS + 1;

	*consumed = (struct consumed){.inv = inv,
				      .bits = calloc(words, sizeof(*consumed->bits)),
				      .empty = calloc(words, sizeof(*consumed->empty))};
	if (!consumed->bits || !consumed->empty) {
		consumed_free(consumed);
		return -ENOMEM;
	}
	for (uint32_t t = 0; t < wload_inventory_count(inv); t++)
		if (wload_inventory_tensor(inv, t).bytes == 0)
			consumed->empty[t / WORD_BITS] |= 1ull << t % WORD_BITS;
	return 0;
}

void consumed_free(struct consumed *consumed)
{
	free(consumed->bits);
	free(consumed->empty);
	consumed->bits = NULL;
	consumed->empty = NULL;
}

static uint64_t word_at(const struct consumed *consumed, uint32_t word)
{
	return atomic_load(&consumed->bits[word]); /* sequential: see mark.c on open and unlink */
}

/* The tensors that keep no byte alive. */
static uint64_t dead_word(const struct consumed *consumed, uint32_t word)
{
	return word_at(consumed, word) | consumed->empty[word];
}

bool consumed_has(const struct consumed *consumed, uint32_t tensor)
{
	return word_at(consumed, tensor / WORD_BITS) >> tensor % WORD_BITS & 1;
}

bool consumed_set(struct consumed *consumed, uint32_t tensor)
{
	uint64_t bit = 1ull << tensor % WORD_BITS;

	if (atomic_fetch_or(&consumed->bits[tensor / WORD_BITS], bit) & bit)
		return false;
	consumed->tensors++;
	consumed->bytes += wload_inventory_tensor(consumed->inv, tensor).bytes;
	return true;
}

bool consumed_clear(struct consumed *consumed, uint32_t tensor)
{
	uint64_t bit = 1ull << tensor % WORD_BITS;

	if (!(atomic_fetch_and(&consumed->bits[tensor / WORD_BITS], ~bit) & bit))
		return false;
	consumed->tensors--;
	consumed->bytes -= wload_inventory_tensor(consumed->inv, tensor).bytes;
	return true;
}

/* The first tensor in [from, hi) that is dead, or is not, or hi. */
static uint32_t next_with(const struct consumed *consumed, uint32_t from, uint32_t hi, bool want)
{
	while (from < hi) {
		uint64_t word = dead_word(consumed, from / WORD_BITS);

		word = (want ? word : ~word) >> from % WORD_BITS;
		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			return from < hi ? from : hi;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return hi;
}

/* The first of the dead tensors that end just before `end`, not below lo. */
static uint32_t run_start(const struct consumed *consumed, uint32_t end, uint32_t lo)
{
	while (end > lo) {
		uint32_t last = end - 1, shift = WORD_BITS - 1 - last % WORD_BITS;
		uint64_t clear = ~dead_word(consumed, last / WORD_BITS) << shift;

		if (clear) {
			end -= (uint32_t)__builtin_clzll(clear);
			break;
		}
		end = last / WORD_BITS * WORD_BITS;
	}
	return end > lo ? end : lo;
}

struct consumed_run consumed_run_around(const struct consumed *consumed, uint32_t tensor,
					uint32_t lo, uint32_t hi)
{
	return (struct consumed_run){
		.first = run_start(consumed, tensor + 1, lo),
		.end = next_with(consumed, tensor, hi, false),
	};
}

bool consumed_next_run(const struct consumed *consumed, uint32_t from, uint32_t hi,
		       struct consumed_run *ret)
{
	ret->first = next_with(consumed, from, hi, true);
	ret->end = next_with(consumed, ret->first, hi, false);
	return ret->first < hi;
}

static bool all_consumed(const struct consumed *consumed, uint32_t first, uint32_t end)
{
	while (first < end && consumed_has(consumed, first))
		first++;
	return first == end;
}

struct page_range consumed_dead_pages(const struct consumed *consumed, struct consumed_run run,
				      const struct shard_extent *shard, uint64_t page_bytes)
{
	struct wload_tensor first = wload_inventory_tensor(consumed->inv, run.first);
	struct wload_tensor last = wload_inventory_tensor(consumed->inv, run.end - 1);
	struct page_range dead = {first.offset, last.offset + last.bytes};

	if (run.first == shard->first && run.end == shard->end &&
	    all_consumed(consumed, run.first, run.end))
		return (struct page_range){0, shard->bytes};
	dead.lo = (dead.lo + page_bytes - 1) / page_bytes * page_bytes;
	if (dead.hi < shard->bytes)
		dead.hi = dead.hi / page_bytes * page_bytes;
	if (dead.lo >= dead.hi)
		dead.hi = dead.lo;
	return dead;
}

struct page_range consumed_near(struct page_range dead, const struct wload_tensor *tensor,
				uint64_t reach, uint64_t page_bytes)
{
	uint64_t lo = tensor->offset / page_bytes * page_bytes;
	uint64_t hi = (tensor->offset + tensor->bytes + page_bytes - 1) / page_bytes * page_bytes;

	if (dead.lo == 0) /* the whole shard: its header goes as well */
		return dead;
	lo = lo > reach ? lo - reach : 0;
	hi += reach;
	if (dead.lo < lo)
		dead.lo = lo;
	if (dead.hi > hi)
		dead.hi = hi;
	if (dead.lo >= dead.hi)
		dead.hi = dead.lo;
	return dead;
}
