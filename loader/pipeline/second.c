/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "loader/pipeline/second.h"

/* Pieces that lie closer are read with what is between them. */
#define CLOSE_BYTES ((uint64_t)64 << 10)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Reads `count` pieces from `first` on, less `skip` bytes of the first, up to n bytes in all. */
static int read_close(struct second *s, const struct wload_source *source, uint64_t first,
		      uint64_t count, uint64_t skip, size_t n, uint8_t *buf,
		      struct wload_error *err)
{
	uint64_t piece = source->bytes / source->rows, stride = source->src_stride;
	uint64_t span = (count - 1) * stride + (skip + n - (count - 1) * piece) - skip;
	int r = verify_read(s->verify, source->tensor, source->src_offset + first * stride + skip,
			    s->scratch, (size_t)span, err);

	for (uint64_t i = 0; r == 0 && n; i++) {
		uint64_t from = i ? 0 : skip;
		size_t part = (size_t)least(piece - from, n);

		memcpy(buf, s->scratch + i * stride + from - skip, part);
		buf += part;
		n -= part;
	}
	return r;
}

/* Reads n bytes of a source, from `at` on of those that it brings. */
static int read_source(struct second *s, const struct wload_source *source, uint64_t at, size_t n,
		       uint8_t *buf, struct wload_error *err)
{
	bool dense = source->rows <= 1 || source->src_stride == source->bytes / source->rows;
	uint64_t piece = dense ? source->bytes : source->bytes / source->rows;
	int r = 0;

	while (r == 0 && n) {
		uint64_t first = at / piece, skip = at % piece, count = 1;
		size_t part;

		if (!dense && source->src_stride <= CLOSE_BYTES)
			count = least(SECOND_SCRATCH_BYTES / source->src_stride,
				      (skip + n + piece - 1) / piece);
		part = (size_t)least(n, count * piece - skip);
		if (count > 1)
			r = read_close(s, source, first, count, skip, part, buf, err);
		else
			r = verify_read(s->verify, source->tensor,
					source->src_offset + first * source->src_stride + skip, buf,
					part, err);
		at += part;
		buf += part;
		n -= part;
	}
	return r;
}

/* The first source that reaches past an offset; source_count when none does. */
static uint32_t source_at(const struct wload_param *param, uint64_t offset)
{
	uint32_t low = 0, high = param->source_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct wload_source *source = &param->sources[middle];

		if (source->dst_offset + source->bytes > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int read_range(struct second *s, uint64_t offset, size_t n, uint8_t *buf,
		      struct wload_error *err)
{
	const struct wload_param *param = s->param;
	uint64_t end = offset + n;
	int r = 0;

	memset(buf, 0, n);
	for (uint32_t i = source_at(param, offset); r == 0 && i < param->source_count; i++) {
		const struct wload_source *source = &param->sources[i];
		uint64_t lo = source->dst_offset > offset ? source->dst_offset : offset;
		uint64_t hi = least(source->dst_offset + source->bytes, end);

		if (source->dst_offset >= end)
			break;
		if (lo < hi)
			r = read_source(s, source, lo - source->dst_offset, (size_t)(hi - lo),
					buf + (lo - offset), err);
	}
	return r;
}

int second_read(void *ctx, uint64_t offset, size_t piece, size_t rows, uint64_t stride,
		uint8_t *buf, struct wload_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rows; i++)
		r = read_range(ctx, offset + i * stride, piece, buf + i * piece, err);
	return r;
}
