/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TRACE_KINDS_H
#define WLOADFS_TRACE_KINDS_H

/* What a trace concludes: which tensors a load forgot, wasted or needed twice. Pure.
 *
 * Conclusions come from marks of each tensor, which no ring loses. A tensor counts as read when its
 * every byte was (coverage.h), or a client said `loaded NAME`. Tensors without bytes are in none of
 * the kinds that speak of reading. A restored tensor begins anew, but what was found stays found.
 */

#include <stdbool.h>

#include "fs/consumed.h"
#include "loader/base/text.h"

enum trace_mark {
	MARK_TOUCHED = 1,	  /* a byte of it was read */
	MARK_READ = 2,		  /* every byte was */
	MARK_CONSUMED_UNREAD = 4, /* it was consumed, and not every byte had been read */
	MARK_REREAD = 8,	  /* it was read while consumed */
	MARK_MISSED = 16,	  /* its name was looked for while it was consumed */
};

enum trace_kind {
	TRACE_NEVER_READ,	 /* not consumed, and no byte read */
	TRACE_PARTLY_READ,	 /* not consumed, some bytes read */
	TRACE_READ_NOT_CONSUMED, /* read, and still there */
	TRACE_CONSUMED_UNREAD,
	TRACE_REREAD,
	TRACE_MISSING,
	TRACE_KINDS
};

#define TRACE_NAMES_MAX 8u /* the first tensors of a kind that a sum names */

struct trace_sum {
	uint32_t count[TRACE_KINDS];
	uint32_t first[TRACE_KINDS][TRACE_NAMES_MAX]; /* tensors, in disk order */
};

/* The kinds that a tensor is of: bits 1 << kind. */
unsigned int trace_kinds_of(uint8_t marks, bool consumed, uint64_t bytes);

/* Sums up.
 *
 * marks  one a tensor: enum trace_mark bits */
void trace_sum(const struct consumed *consumed, const uint8_t *marks, struct trace_sum *ret);

/* A kind's name, as in JSON. */
const char *trace_kind_name(enum trace_kind kind);

/* Does the kind depend on seeing who reads the shards? */
bool trace_kind_is_of_reads(enum trace_kind kind);

/* Appends `"never_read": {"tensors": N, "first": [names]}, …`, each kind; null for those that are
 * of reads when those are not seen. */
void trace_sum_json(const struct trace_sum *sum, const struct wload_inventory *inv, bool seen,
		    struct text *text);

/* Appends one kind as a sentence for the log: how many, and the first few names. */
void trace_sum_line(const struct trace_sum *sum, const struct wload_inventory *inv,
		    enum trace_kind kind, struct text *text);

/* Appends an object of all names: `{"never_read": […], …}`, null as above. */
void trace_lists_json(const struct consumed *consumed, const uint8_t *marks, bool seen,
		      struct text *text);

#endif
