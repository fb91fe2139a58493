/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/transform/pieces.h"

/* A read costs as much as reading this far. */
#define GAP_BYTES 4096

/* Dimensions that have more than one index, nearest elements first. */
static unsigned int by_stride(const struct grid *grid, unsigned int order[PIECES_DIMS])
{
	unsigned int count = 0;

	for (unsigned int d = 0; d < PIECES_DIMS; d++) {
		unsigned int i = count;

		if (grid->size[d] <= 1 || grid->stride[d] == 0)
			continue;
		for (; i > 0 && grid->stride[order[i - 1]] > grid->stride[d]; i--)
			order[i] = order[i - 1];
		order[i] = d;
		count++;
	}
	return count;
}

/* Elements whose distance is no whole number of bytes can't be in pieces of their own. */
static bool is_close(uint64_t stride, uint64_t extent)
{
	return stride % 2 != 0 || stride <= extent + 2 * GAP_BYTES;
}

void pieces_plan(const struct grid *grid, struct pieces *ret_pieces)
{
	struct pieces p = {.first = grid->first / 2, .at = grid->first % 2};
	unsigned int order[PIECES_DIMS], count = by_stride(grid, order), next = 0;
	uint64_t extent = grid->width;

	for (; next < count && is_close(grid->stride[order[next]], extent); next++) {
		unsigned int d = order[next];

		p.fetched[d] = grid->stride[d];
		extent += (grid->size[d] - 1) * grid->stride[d];
	}
	p.piece = p.bytes = (p.at + extent + 1) / 2;
	for (; next < count; next++) {
		unsigned int d = order[next];

		p.fetched[d] = 2 * p.bytes;
		p.size[p.dims] = grid->size[d];
		p.stride[p.dims++] = grid->stride[d] / 2;
		p.bytes *= grid->size[d];
	}
	*ret_pieces = p;
}

int pieces_fetch(const struct pieces *pieces, transform_reader read, void *ctx, uint8_t *buf,
		 struct wload_error *err)
{
	uint64_t rows = pieces->dims ? pieces->size[0] : 1;
	uint64_t index[PIECES_DIMS] = {0}, first = pieces->first;
	uint64_t reads = pieces->bytes / (rows * pieces->piece);

	for (uint64_t i = 0; i < reads; i++) {
		int r = read(ctx, first, pieces->piece, rows, pieces->dims ? pieces->stride[0] : 0,
			     buf, err);

		if (r < 0)
			return r;
		buf += rows * pieces->piece;
		for (unsigned int d = 1; d < pieces->dims; d++) {
			first += pieces->stride[d];
			if (++index[d] < pieces->size[d])
				break;
			first -= pieces->size[d] * pieces->stride[d];
			index[d] = 0;
		}
	}
	return 0;
}
