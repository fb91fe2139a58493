/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_COVERAGE_H
#define WLOADFS_COVERAGE_H

/* Which bytes of one tensor were read: pieces [lo, hi), apart from each other, sorted.
 *
 * Whoever reads from one end to the other, and whoever reads with a few threads, has few pieces,
 * and the first needs no memory of its own. Beyond COVERAGE_PIECES_MAX the smallest piece is
 * forgotten: then, and only then, a tensor whose every byte was read may still count as partly
 * read; never the other way round. Pure; the owner's lock. */

#include <stdbool.h>
#include <stdint.h>

#define COVERAGE_PIECES_MAX 64u

struct coverage_piece {
	uint64_t lo, hi;
};

struct coverage {
	struct coverage_piece *piece; /* COVERAGE_PIECES_MAX + 1; NULL while there is one at most */
	struct coverage_piece only;   /* that one; empty: none */
	uint32_t count;		      /* of piece */
};

/* Adds a piece, which may be empty. Where memory is short it may be forgotten.
 *
 * Returns whether [0, bytes) is covered now; whether it is then remembered is the caller's part. */
bool coverage_add(struct coverage *coverage, uint64_t lo, uint64_t hi, uint64_t bytes);

/* Forgets all pieces and frees what they took. */
void coverage_clear(struct coverage *coverage);

#endif
