/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CREDIT_H
#define WLOADFS_CREDIT_H

/* How far a prefetch may run ahead: policy, without I/O or locks.
 *
 * Every tensor is cut into pieces, and a piece that was read ahead takes its bytes from the credit
 * until it is given back: by the consumption of its tensor, or, where what is read leaves the page
 * cache behind the reader, by a READ that reaches the piece's last byte. A piece that was read
 * before the prefetch came to it needs none any more. */

#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/tensor.h"

#define CREDIT_PIECE_BYTES (256u << 10)

struct credit {
	const struct wload_inventory *inv; /* borrowed */
	uint64_t limit_bytes;
	uint64_t ahead_bytes; /* read ahead and not given back */
	uint64_t *first;      /* of each tensor: its first piece; one more than there are tensors */
	uint64_t *ahead;      /* a bit a piece: read ahead */
	uint64_t *seen;	      /* a bit a piece: somebody has read it */
};

/* Returns 0 or -ENOMEM; credit_free() takes what there is in both cases. */
int credit_init(struct credit *credit, const struct wload_inventory *inv, uint64_t limit_bytes);
void credit_free(struct credit *credit);

enum credit_answer { CREDIT_PIECE, CREDIT_FULL, CREDIT_NONE };

/* The next piece of a tensor at or behind byte *at that is worth reading ahead; takes the credit.
 *
 * at       of a piece's first byte; moved to the piece, to read to its end: *ret_bytes
 *
 * Returns CREDIT_PIECE, CREDIT_FULL where there is no credit for it now, CREDIT_NONE where there is
 * no such piece. */
enum credit_answer credit_take(struct credit *credit, uint32_t tensor, uint64_t *at,
			       uint64_t *ret_bytes);

/* All of a tensor, or [lo, hi) of its bytes, needs no credit any more. Returns whether that gave
 * any back. */
bool credit_consumed(struct credit *credit, uint32_t tensor);
bool credit_read(struct credit *credit, uint32_t tensor, uint64_t lo, uint64_t hi);

/* What was read is worth reading ahead again. */
void credit_restored(struct credit *credit);

#endif
