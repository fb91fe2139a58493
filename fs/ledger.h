/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_LEDGER_H
#define WLOADFS_LEDGER_H

/* Which pages of the mount's files the kernel may hold, and which of them go next: policy, without
 * I/O, locks or clocks.
 *
 * The kernel tells nobody what it caches, but every page of a file that we serve was filled by a
 * READ. So READs are booked, 64 pages an entry with a bit each, and entries are listed by when they
 * were last read:
 *
 *     oldest  [node 7, chunk 3: 1111…]  [node 7, chunk 4: 1100…]  …  newest
 *        |
 *        ledger_next() takes from here and joins neighbours: "drop 256 KiB at 768 KiB of node 7"
 *
 * What is booked is at least what is cached: the kernel may have reclaimed pages by itself. What
 * hits the cache sends no READ, so "read longest ago" means "filled longest ago". */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_CHUNK_PAGES 64u /* bits of an entry */

/* The most that ledger_next() joins: whoever consumes waits for no more than that. */
#define LEDGER_PIECE_BYTES (4u << 20)

struct ledger_range {
	uint64_t node;
	uint64_t lo, hi; /* bytes of the file, at page borders; lo == hi: nothing */
};

struct ledger_entry;

struct ledger {
	uint64_t page_bytes;
	uint64_t limit_bytes; /* a READ that would book more has to wait */
	uint64_t used_bytes;  /* booked now, with what is leaving */
	uint64_t peak_bytes;
	uint64_t evicted_bytes;	     /* that left by ledger_next() */
	struct ledger_range leaving; /* being dropped now; nothing else may touch these four */
	uint64_t leaving_bytes;
	bool draining; /* above the high mark once, not yet down at the low one */
	bool emptying; /* until nothing is left */

	struct ledger_entry **bucket;
	size_t buckets, count;
	struct ledger_entry *oldest, *newest;
};

/* Returns 0 or -ENOMEM. */
int ledger_init(struct ledger *ledger, uint64_t page_bytes, uint64_t limit_bytes);
void ledger_free(struct ledger *ledger);

/* May a READ of [lo, hi) be answered now? Where there is room; and always where it reads what is
 * leaving: the kernel waits for such a READ before it lets go. */
bool ledger_may_read(const struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi);

/* Books a READ of [lo, hi), whose pages become the newest.
 *
 * ret_added  bytes of it that were not booked before
 *
 * Returns 0 or -ENOMEM (then a part may be booked). */
int ledger_read(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi,
		uint64_t *ret_added);

/* Strikes out the whole pages in [lo, hi), which were dropped for another reason. */
void ledger_forget(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi);

/* Is there something to drop? From 7/8 of the limit on, down to 3/4; after ledger_empty() until
 * nothing is left, or the next READ. */
bool ledger_wants(struct ledger *ledger);
void ledger_empty(struct ledger *ledger);

/* Takes out what was read longest ago, to be dropped; it stays booked until ledger_left().
 *
 * Returns false when nothing is booked. One at a time. */
bool ledger_next(struct ledger *ledger, struct ledger_range *ret);
void ledger_left(struct ledger *ledger);

/* The same for a range that the caller chose: strikes out its whole pages at once. */
void ledger_drop(struct ledger *ledger, uint64_t node, uint64_t lo, uint64_t hi);

#endif
