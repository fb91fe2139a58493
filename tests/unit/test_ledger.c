/* SPDX-License-Identifier: Apache-2.0 */
/* fs/ledger: what is booked, what waits and what goes next; steps in a table, then random ones
 * against a model that knows nothing but single pages and when each chunk was last read. */

#include <stdlib.h>
#include <string.h>

#include "fs/ledger.h"
#include "tap.h"

#define PAGE  4096ull
#define CHUNK (64 * PAGE)
#define MIB   (1ull << 20)

enum step { READ, FORGET, NEXT, LEFT, MAY, WANTS, EMPTY, DROP };

static const struct {
	const char *name;
	enum step step;
	uint64_t node, lo, hi; /* of NEXT: what it must give */
	uint64_t used;	       /* afterwards */
	uint64_t says;	       /* bytes added; or whether */
} steps[] = {
	/* limit: 16 chunks of 256 KiB */
	{"nothing to drop", WANTS, 0, 0, 0, 0, false},
	{"nothing to take", NEXT, 0, 0, 0, 0, false},
	{"a READ books its pages", READ, 1, 0, 2 * CHUNK, 2 * CHUNK, 2 * CHUNK},
	{"a second one of the same adds nothing", READ, 1, 0, CHUNK, 2 * CHUNK, 0},
	{"a part of a page is a page", READ, 2, 10, 20, 2 * CHUNK + PAGE, PAGE},
	{"across a page's border: two", READ, 2, 4095, 4097, 2 * CHUNK + 2 * PAGE, PAGE},
	{"no bytes, no page", READ, 3, 70 * PAGE, 70 * PAGE, 2 * CHUNK + 2 * PAGE, 0},
	{"the one read longest ago goes first, alone", NEXT, 1, CHUNK, 2 * CHUNK,
	 2 * CHUNK + 2 * PAGE, true},
	{"what leaves may be read, however full", MAY, 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 2 * PAGE,
	 true},
	{"and is booked again", READ, 1, CHUNK, CHUNK + PAGE, 2 * CHUNK + 3 * PAGE, PAGE},
	{"it is gone", LEFT, 0, 0, 0, CHUNK + 3 * PAGE, 0},
	{"forgetting takes whole pages only", FORGET, 1, 1, CHUNK, 4 * PAGE, 0},
	{"forgetting a part of a page takes nothing", FORGET, 1, 1, 4095, 4 * PAGE, 0},
	{"forgetting to the end of the node", FORGET, 1, 0, UINT64_MAX, 2 * PAGE, 0},
	{"of another node nothing goes", FORGET, 7, 0, UINT64_MAX, 2 * PAGE, 0},
	{"a large READ fits", MAY, 3, 0, 15 * CHUNK, 2 * PAGE, true},
	{"up to the limit, and no byte more", MAY, 3, 0, 16 * CHUNK - PAGE, 2 * PAGE, false},
	{"below the high mark nothing goes", READ, 3, 0, 13 * CHUNK, 13 * CHUNK + 2 * PAGE,
	 13 * CHUNK},
	{"not wanted", WANTS, 0, 0, 0, 13 * CHUNK + 2 * PAGE, false},
	{"above it something does", READ, 3, 13 * CHUNK, 14 * CHUNK, 14 * CHUNK + 2 * PAGE, CHUNK},
	{"wanted", WANTS, 0, 0, 0, 14 * CHUNK + 2 * PAGE, true},
	{"a READ of what is booked never waits", MAY, 3, 0, 14 * CHUNK, 14 * CHUNK + 2 * PAGE,
	 true},
	{"the small one first", NEXT, 2, 0, CHUNK, 14 * CHUNK + 2 * PAGE, true},
	{"", LEFT, 0, 0, 0, 14 * CHUNK, 0},
	{"still wanted: the low mark counts", WANTS, 0, 0, 0, 14 * CHUNK, true},
	{"neighbours go together", NEXT, 3, 0, 14 * CHUNK, 14 * CHUNK, true},
	{"what leaves does not ask for more", WANTS, 0, 0, 0, 14 * CHUNK, false},
	{"", LEFT, 0, 0, 0, 0, 0},
	{"a little", READ, 4, 5 * CHUNK, 5 * CHUNK + 1, PAGE, PAGE},
	{"not wanted", WANTS, 0, 0, 0, PAGE, false},
	{"", EMPTY, 0, 0, 0, PAGE, 0},
	{"wanted until nothing is left", WANTS, 0, 0, 0, PAGE, true},
	{"", NEXT, 4, 5 * CHUNK, 6 * CHUNK, PAGE, true},
	{"", LEFT, 0, 0, 0, 0, 0},
	{"then no more", WANTS, 0, 0, 0, 0, false},
	{"", READ, 5, 0, PAGE, PAGE, PAGE},
	{"", EMPTY, 0, 0, 0, PAGE, 0},
	{"a READ", READ, 5, PAGE, 2 * PAGE, 2 * PAGE, PAGE},
	{"ends the emptying", WANTS, 0, 0, 0, 2 * PAGE, false},
	{"dropped for another reason", DROP, 5, 0, UINT64_MAX, 0, 0},
	{"a READ of it may go on", MAY, 5, 0, 100 * CHUNK, 0, true},
	{"no other", MAY, 6, 0, 100 * CHUNK, 0, false},
	{"", LEFT, 0, 0, 0, 0, 0},
	{"until it is over", MAY, 5, 0, 100 * CHUNK, 0, false},
};

static uint64_t take(struct ledger *ledger, size_t i, struct ledger_range *range)
{
	uint64_t added = 0;

	switch (steps[i].step) {
	case READ:
		return ledger_read(ledger, steps[i].node, steps[i].lo, steps[i].hi, &added) == 0
			       ? added
			       : UINT64_MAX;
	case FORGET:
		ledger_forget(ledger, steps[i].node, steps[i].lo, steps[i].hi);
		return 0;
	case NEXT:
		return ledger_next(ledger, range);
	case LEFT:
		ledger_left(ledger);
		return 0;
	case MAY:
		return ledger_may_read(ledger, steps[i].node, steps[i].lo, steps[i].hi);
	case DROP:
		ledger_drop(ledger, steps[i].node, steps[i].lo, steps[i].hi);
		return 0;
	case WANTS:
		return ledger_wants(ledger);
	default:
		ledger_empty(ledger);
		return 0;
	}
}

static void test_steps(struct tap *tap)
{
	struct ledger ledger;

	if (!ok(tap, ledger_init(&ledger, PAGE, 16 * CHUNK) == 0, "a ledger"))
		return;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct ledger_range range = {steps[i].node, steps[i].lo, steps[i].hi};
		uint64_t says = take(&ledger, i, &range);

		ok(tap,
		   says == steps[i].says && ledger.used_bytes == steps[i].used &&
			   range.node == steps[i].node && range.lo == steps[i].lo &&
			   range.hi == steps[i].hi,
		   "step %zu: %s", i, steps[i].name);
	}
	ok(tap, ledger.peak_bytes == 14 * CHUNK + 2 * PAGE, "the peak is remembered");
	ok(tap, ledger.evicted_bytes == 15 * CHUNK + 3 * PAGE, "what left is counted");
	ledger_free(&ledger);
}

/* ---- the model ---- */

#define NODES  5
#define CHUNKS 40
#define PAGES  (CHUNKS * 64)

struct model {
	bool page[NODES][PAGES];
	uint64_t read_at[NODES][CHUNKS]; /* 0: nothing booked */
	uint64_t now, used, leaving;
};

static void settle(struct model *m, uint64_t node)
{
	for (int c = 0; c < CHUNKS; c++) {
		bool any = false;

		for (int p = 0; p < 64; p++)
			any |= m->page[node][c * 64 + p];
		if (!any)
			m->read_at[node][c] = 0;
	}
}

static uint64_t model_read(struct model *m, uint64_t node, uint64_t first, uint64_t end)
{
	uint64_t added = 0;

	for (uint64_t p = first; p < end; p++) {
		added += !m->page[node][p] * PAGE;
		m->page[node][p] = true;
		if (p == first || p % 64 == 0)
			m->read_at[node][p / 64] = ++m->now;
	}
	m->used += added;
	return added;
}

static void model_forget(struct model *m, uint64_t node, uint64_t first, uint64_t end)
{
	for (uint64_t p = first; p < end; p++) {
		m->used -= m->page[node][p] * PAGE;
		m->page[node][p] = false;
	}
	settle(m, node);
}

/* Is the range what was read longest ago, with neighbours in the order of reading? Takes it. */
static bool model_next(struct model *m, const struct ledger_range *range)
{
	for (uint64_t at = range->lo; at < range->hi; at += CHUNK) {
		uint64_t chunk = at / CHUNK, mine = m->read_at[range->node][chunk];

		for (int n = 0; n < NODES; n++)
			for (int c = 0; c < CHUNKS; c++)
				if (m->read_at[n][c] && m->read_at[n][c] < mine)
					return false;
		if (!mine)
			return false;
		for (uint64_t p = chunk * 64; p < chunk * 64 + 64; p++) {
			m->leaving += m->page[range->node][p] * PAGE;
			m->page[range->node][p] = false;
		}
		m->read_at[range->node][chunk] = 0;
	}
	return true;
}

static void test_random(struct tap *tap, unsigned int seed)
{
	static struct model m;
	struct ledger_range range = {0};
	struct ledger ledger;
	bool same = ledger_init(&ledger, PAGE, 100 * CHUNK) == 0;
	int step = 0;

	m = (struct model){0};
	srand(seed);
	for (; same && step < 20000; step++) {
		uint64_t node = (uint64_t)rand() % NODES, first = (uint64_t)rand() % PAGES;
		uint64_t end = first + (uint64_t)rand() % 200, added;

		if (end > PAGES)
			end = PAGES;
		switch (rand() % 8) {
		case 0:
			ledger_forget(&ledger, node, first * PAGE, end * PAGE);
			model_forget(&m, node, first, end);
			break;
		case 1:
		case 2:
			if (ledger.leaving_bytes) {
				ledger_left(&ledger);
				m.used -= m.leaving;
				m.leaving = 0;
			} else if (ledger_next(&ledger, &range)) {
				same = model_next(&m, &range);
			} else {
				same = m.used == 0;
			}
			break;
		default:
			same = ledger_read(&ledger, node, first * PAGE, end * PAGE, &added) == 0 &&
			       added == model_read(&m, node, first, end);
		}
		same = same && ledger.used_bytes == m.used && ledger.leaving_bytes == m.leaving;
	}
	ok(tap, same, "20000 random steps agree with single pages (seed %u, step %d)", seed, step);
	ledger_free(&ledger);
}

int main(int argc, char **argv)
{
	unsigned int seed = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	struct tap tap = {0};

	test_steps(&tap);
	for (unsigned int i = 0; i < 5; i++)
		test_random(&tap, seed + i);
	return tap_done(&tap);
}
