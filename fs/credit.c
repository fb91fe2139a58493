/* SPDX-License-Identifier: Apache-2.0 */
/* Two bits a piece (credit.h). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/credit.h"

static bool has(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void put(uint64_t *bits, uint64_t i, bool to)
{
	uint64_t bit = UINT64_C(1) << i % 64;

	bits[i / 64] = to ? bits[i / 64] | bit : bits[i / 64] & ~bit;
}

static size_t words_of(const struct credit *credit)
{
	return (size_t)(credit->first[wload_inventory_count(credit->inv)] / 64 + 1);
}

int credit_init(struct credit *credit, const struct wload_inventory *inv, uint64_t limit_bytes)
{
	uint32_t count = wload_inventory_count(inv);

	*credit = (struct credit){
		.inv = inv,
		.limit_bytes = limit_bytes,
		.first = calloc((size_t)count + 1, sizeof(*credit->first)),
	};
	if (!credit->first)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t bytes = wload_inventory_tensor(inv, i).bytes;

		credit->first[i + 1] = credit->first[i] + bytes / CREDIT_PIECE_BYTES +
				       (bytes % CREDIT_PIECE_BYTES != 0);
	}
	credit->ahead = calloc(words_of(credit), sizeof(*credit->ahead));
	credit->seen = calloc(words_of(credit), sizeof(*credit->seen));
	return credit->ahead && credit->seen ? 0 : -ENOMEM;
}

void credit_free(struct credit *credit)
{
	free(credit->first);
	free(credit->ahead);
	free(credit->seen);
	*credit = (struct credit){0};
}

static uint64_t piece_bytes(uint64_t tensor_bytes, uint64_t index)
{
	uint64_t left = tensor_bytes - index * CREDIT_PIECE_BYTES;

	return left < CREDIT_PIECE_BYTES ? left : CREDIT_PIECE_BYTES;
}

enum credit_answer credit_take(struct credit *credit, uint32_t tensor, uint64_t *at,
			       uint64_t *ret_bytes)
{
	uint64_t total = wload_inventory_tensor(credit->inv, tensor).bytes, bytes;

	for (uint64_t i = *at / CREDIT_PIECE_BYTES; i * CREDIT_PIECE_BYTES < total; i++) {
		uint64_t piece = credit->first[tensor] + i;

		if (has(credit->ahead, piece) || has(credit->seen, piece))
			continue;
		bytes = piece_bytes(total, i);
		*at = i * CREDIT_PIECE_BYTES;
		if (credit->ahead_bytes + bytes > credit->limit_bytes)
			return CREDIT_FULL;
		put(credit->ahead, piece, true);
		credit->ahead_bytes += bytes;
		*ret_bytes = bytes;
		return CREDIT_PIECE;
	}
	return CREDIT_NONE;
}

/* Gives a piece's credit back, if it took any. */
static bool give_back(struct credit *credit, uint32_t tensor, uint64_t index)
{
	uint64_t piece = credit->first[tensor] + index;

	if (!has(credit->ahead, piece))
		return false;
	put(credit->ahead, piece, false);
	credit->ahead_bytes -=
		piece_bytes(wload_inventory_tensor(credit->inv, tensor).bytes, index);
	return true;
}

bool credit_consumed(struct credit *credit, uint32_t tensor)
{
	uint64_t pieces = credit->first[tensor + 1] - credit->first[tensor];
	bool any = false;

	for (uint64_t i = 0; i < pieces; i++)
		any |= give_back(credit, tensor, i);
	return any;
}

bool credit_read(struct credit *credit, uint32_t tensor, uint64_t lo, uint64_t hi)
{
	uint64_t total = wload_inventory_tensor(credit->inv, tensor).bytes;
	bool any = false;

	for (uint64_t i = lo / CREDIT_PIECE_BYTES; lo < hi && i * CREDIT_PIECE_BYTES < total; i++) {
		if (i * CREDIT_PIECE_BYTES + piece_bytes(total, i) > hi)
			break;
		put(credit->seen, credit->first[tensor] + i, true);
		any |= give_back(credit, tensor, i);
	}
	return any;
}

void credit_restored(struct credit *credit)
{
	memset(credit->seen, 0, words_of(credit) * sizeof(*credit->seen));
}
