/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_ALONG_H
#define WLOAD_PLAN_ALONG_H

/* What a split rule's "along" can say. */

#include <stdbool.h>
#include <stdint.h>

struct along {
	const char *word;
	bool splits;  /* false: every rank has all of it */
	uint32_t dim; /* that is split; a tensor without it is not */
	/* config.json's number of the heads that dim is made of, and stay whole; NULL: none */
	const char *heads;
	const char *heads_else; /* the number that counts where config.json lacks that; or NULL */
	bool repeats;		/* more ranks than heads: each head goes to several */
};

/* NULL when there is no such word. */
const struct along *along_find(const char *word);

/* All words, as a sentence lists them. */
#define ALONG_WORDS "column, row, vocab, heads, kv_heads, whole"

#endif
