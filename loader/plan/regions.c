/* SPDX-License-Identifier: Apache-2.0 */
/* Two regions of as many pieces, equally far apart, that lie beside each other are one of longer
 * pieces:
 *
 *   [gate 0][up 0]....[gate 1][up 1]....      and without the gaps, one piece
 */

#include <assert.h>
#include <stdlib.h>

#include "loader/plan/regions.h"

static uint64_t piece_of(const struct wload_source *r)
{
	return r->bytes / r->rows;
}

static int by_offset(const void *left, const void *right)
{
	const struct wload_source *a = left, *b = right;

	if (a->tensor != b->tensor)
		return a->tensor < b->tensor ? -1 : 1;
	return (a->src_offset > b->src_offset) - (a->src_offset < b->src_offset);
}

/* Puts b to a, which begins no later, where they are one region. */
static bool merge(struct wload_source *a, const struct wload_source *b)
{
	uint64_t piece = piece_of(a) + piece_of(b);

	if (a->tensor != b->tensor || a->rows != b->rows || a->src_stride != b->src_stride)
		return false;
	if (a->src_offset == b->src_offset && a->bytes == b->bytes)
		return true;
	if (a->src_offset + piece_of(a) != b->src_offset || (a->rows > 1 && piece > a->src_stride))
		return false;
	a->bytes += b->bytes;
	if (piece == a->src_stride) {
		a->rows = 1;
		a->src_stride = 0;
	}
	return true;
}

size_t regions_merge(struct wload_source *regions, size_t count)
{
	size_t left = 0;

	qsort(regions, count, sizeof(*regions), by_offset);
	for (size_t i = 0; i < count; i++)
		if (regions[i].bytes && (left == 0 || !merge(&regions[left - 1], &regions[i])))
			regions[left++] = regions[i];
	return left;
}

static uint64_t end_of(const struct wload_source *r)
{
	return r->src_offset + (r->rows - 1) * r->src_stride + piece_of(r);
}

bool regions_follow(const struct wload_source *regions, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (regions[i].tensor == regions[i - 1].tensor &&
		    regions[i].src_offset < end_of(&regions[i - 1]))
			return false;
	return true;
}

size_t regions_find(const struct wload_source *regions, size_t count,
		    const struct wload_source *part, uint64_t *ret_offset, uint64_t *ret_pitch)
{
	size_t i;

	for (i = 0; i + 1 < count; i++)
		if (regions[i].tensor == part->tensor &&
		    part->src_offset >= regions[i].src_offset &&
		    part->src_offset - regions[i].src_offset < piece_of(&regions[i]))
			break;
	assert(i < count);
	*ret_offset = part->src_offset - regions[i].src_offset;
	*ret_pitch = regions[i].rows > 1 ? piece_of(&regions[i]) : part->src_stride;
	return i;
}
