/* SPDX-License-Identifier: Apache-2.0 */
/* Sorts many names that share long prefixes, as tensor names do.
 *
 * strcmp would read "model.layers.12.mlp.experts." again and again, a cache miss each time. Instead
 * the names are sorted by eight bytes at a time: a group that agrees in these is sorted by the next
 * eight. Each name is visited once for each of its words, and a comparison is that of two numbers.
 *
 *     word 0      word 1      word 2
 *     model.la    yers.0.m    lp.up.we
 *     model.la    yers.0.m    lp.down.
 *     model.la    yers.1.m    …                 <- no third word needed to place this one
 *     lm_head.
 *
 * Names that agree in their first WORDS_MAX words are left to strcmp, which bounds the recursion.
 */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/name_order.h"

enum {
	WORD_BYTES = 8,
	WORDS_MAX = 32,
	INSERTION_MAX = 12, /* up to here, insertion beats qsort */
};

/* The next eight bytes as a number that sorts as they do; past the NUL they are 0. */
static uint64_t load_word(const char *p)
{
	uint64_t v = 0;
	int shift;

	for (shift = 56; shift >= 0 && *p; shift -= 8)
		v |= (uint64_t)(unsigned char)*p++ << shift;
	return v;
}

static bool ends_in(uint64_t word)
{
	return (word & 0xff) == 0;
}

static int compare_words(const void *a, const void *b)
{
	const struct name_ref *x = a, *y = b;

	if (x->word != y->word)
		return x->word < y->word ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_names(const void *a, const void *b)
{
	const struct name_ref *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : x->id < y->id ? -1 : x->id > y->id;
}

static void insertion_sort(struct name_ref *refs, size_t count)
{
	struct name_ref moving;
	size_t i, j;

	for (i = 1; i < count; i++) {
		moving = refs[i];
		for (j = i; j > 0 && compare_words(&refs[j - 1], &moving) > 0; j--)
			refs[j] = refs[j - 1];
		refs[j] = moving;
	}
}

static void sort_by_word(struct name_ref *refs, size_t count)
{
	size_t i;

	if (count <= INSERTION_MAX) {
		insertion_sort(refs, count);
		return;
	}
	for (i = 1; i < count; i++) {
		if (compare_words(&refs[i - 1], &refs[i]) <= 0)
			continue;
		qsort(refs, count, sizeof(*refs), compare_words);
		return;
	}
}

/* Sorts refs, which agree in their first `depth` words. */
static void sort_from(struct name_ref *refs, size_t count, size_t depth)
{
	size_t i, end;

	if (depth == WORDS_MAX) {
		qsort(refs, count, sizeof(*refs), compare_names);
		return;
	}
	for (i = 0; i < count; i++)
		refs[i].word = load_word(refs[i].name + depth * WORD_BYTES);
	sort_by_word(refs, count);
	for (i = 0; i < count; i = end) {
		for (end = i + 1; end < count && refs[end].word == refs[i].word; end++)
			;
		if (end - i > 1 && !ends_in(refs[i].word))
			sort_from(refs + i, end - i, depth + 1);
	}
}

void name_order_sort(struct name_ref *refs, size_t count)
{
	if (count > 1)
		sort_from(refs, count, 0);
}
