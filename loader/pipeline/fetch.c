/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "loader/base/pagecache.h"
#include "loader/base/untouched.h"
#include "loader/checkpoint/shards.h"
#include "loader/pipeline/fetch.h"
#include "loader/pipeline/memory.h"

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x80 /* Linux 6.14, include/uapi/linux/fs.h */
#endif

/* ---- opening -------------------------------------------------------------------------------- */

/* What direct reads of a file must be multiples of: statx says since Linux 6.1, 0 where there are
 * none; elsewhere a block of 4 KiB suits every disk. */
static uint32_t direct_block(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    stx.stx_mask & STATX_DIOALIGN)
		return stx.stx_dio_offset_align > stx.stx_dio_mem_align ? stx.stx_dio_offset_align
									: stx.stx_dio_mem_align;
#else
	(void)fd;
#endif
	return FETCH_BLOCK_MAX;
}

/* A descriptor of the very file that fd is. Returns it, or -1. */
static int open_direct(int fd, uint32_t *ret_block)
{
	uint32_t block = direct_block(fd);
	char path[32];

	if (block == 0 || block > FETCH_BLOCK_MAX || (block & (block - 1)))
		return -1;
	*ret_block = block;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

int fetch_open(struct fetch *fetch, const struct wload_checkpoint *ckpt, enum wload_io asked,
	       struct wload_error *err)
{
	uint32_t count = wload_checkpoint_shard_count(ckpt);

	*fetch = (struct fetch){.ckpt = ckpt,
				.asked = asked,
				.shards = calloc((size_t)count + 1, sizeof(*fetch->shards)),
				.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
	if (!fetch->shards)
		return wload_fail(err, ENOMEM, "no memory for %" PRIu32 " shards", count);
	shards_raise_limit(2 * (size_t)count);
	for (uint32_t s = 0; s < count; s++)
		fetch->shards[s].direct_fd = -1;
	for (uint32_t s = 0; s < count && asked != WLOAD_IO_BUFFERED; s++) {
		const struct wload_shard *shard = wload_checkpoint_shard(ckpt, s);
		struct fetch_shard *own = &fetch->shards[s];

		own->direct_fd = open_direct(shard->fd, &own->block);
		if (own->direct_fd < 0 && asked == WLOAD_IO_DIRECT)
			return wload_fail(err, EOPNOTSUPP,
					  "shard '%s' can't be read past the page cache (O_DIRECT)",
					  shard->path);
	}
	return 0;
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* Where nobody may ask what is cached, two bytes of two neighbouring pages tell: in the middle of a
 * range, and where those are there, in its first quarter. What asking there brings in may be held
 * by anybody for a moment, and then is not dropped again; so that the next load took one place for
 * all of the range. */
#define ASKED_PLACES 2

static uint64_t asked_at(const struct fetch *fetch, uint64_t offset, uint64_t bytes,
			 unsigned int place)
{
	uint64_t at = offset + bytes / (place ? 4 : 2);
	uint64_t page = at / fetch->page_bytes * fetch->page_bytes;

	return page ? page - 1 : 0;
}

/* Where nobody may ask: are they there at once? */
static bool answers_at_once(const struct fetch *fetch, int fd, uint64_t offset, uint64_t bytes,
			    bool *ret_known)
{
	char two[2];
	struct iovec vector = {two, sizeof(two)};
	ssize_t n = sizeof(two);

	for (unsigned int place = 0; place < ASKED_PLACES && n == sizeof(two); place++) {
		n = preadv2(fd, &vector, 1, (off_t)asked_at(fetch, offset, bytes, place),
			    RWF_NOWAIT);
		*ret_known = n > 0 || (n < 0 && errno == EAGAIN);
	}
	return n == sizeof(two);
}

enum way fetch_way(const struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes)
{
	struct fetch_shard *own = &fetch->shards[shard];
	int fd = wload_checkpoint_shard(fetch->ckpt, shard)->fd;
	uint64_t page = fetch->page_bytes, lo = offset / page * page;
	uint64_t hi = (offset + bytes + page - 1) / page * page;
	struct way_facts facts = {.asked = fetch->asked,
				  .direct = own->direct_fd >= 0 && !atomic_load(&own->refused),
				  .pages = (hi - lo) / page};
	uint64_t cached;

	if (fetch->asked == WLOAD_IO_AUTO) {
		facts.known = pagecache_bytes(fd, lo, hi, &cached) == 0;
		facts.resident = cached / page;
		if (!facts.known) {
			atomic_store_explicit(&own->probed, true, memory_order_relaxed);
			if (answers_at_once(fetch, fd, offset, bytes, &facts.known))
				facts.resident = facts.pages;
		}
	}
	return way_choose(&facts);
}

void fetch_forget(const struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes)
{
	uint64_t page = fetch->page_bytes;
	int fd = wload_checkpoint_shard(fetch->ckpt, shard)->fd;
	char two[2];

	if (!atomic_load_explicit(&fetch->shards[shard].probed, memory_order_relaxed))
		return;
	for (unsigned int place = 0; place < ASKED_PLACES; place++) {
		uint64_t at = asked_at(fetch, offset, bytes, place);

		/* A page that is being read still is not dropped: this waits for it. Others were
		 * hardly ever asked. */
		if (place == 0)
			(void)io_read_at(fd, two, sizeof(two), at);
		(void)posix_fadvise(fd, (off_t)(at / page * page), (off_t)(2 * page),
				    POSIX_FADV_DONTNEED);
	}
}

#define SAMPLE_PLACES 4u /* of a shard */
#define SAMPLE_SHARDS (64 / SAMPLE_PLACES)
#define SAMPLE_BYTES  UINT64_C(65536)

struct sample {
	uint32_t shard;
	uint64_t offset, bytes;
};

/* The n-th of up to 64 places; false where there is none. */
static bool sample_at(const struct fetch *fetch, uint32_t n, struct sample *ret)
{
	uint32_t count = wload_checkpoint_shard_count(fetch->ckpt);
	uint32_t step = (count + SAMPLE_SHARDS - 1) / SAMPLE_SHARDS;
	uint64_t apart;

	ret->shard = n / SAMPLE_PLACES * step;
	if (ret->shard >= count)
		return false;
	apart = wload_checkpoint_shard(fetch->ckpt, ret->shard)->bytes / SAMPLE_PLACES;
	ret->offset = n % SAMPLE_PLACES * apart;
	ret->bytes = apart < SAMPLE_BYTES ? apart : SAMPLE_BYTES;
	return ret->bytes > 0;
}

bool fetch_mostly_cached(struct fetch *fetch)
{
	uint32_t cached = 0, looked = 0;
	struct sample at;

	for (uint32_t n = 0; n < 64; n++) {
		if (!sample_at(fetch, n, &at))
			continue;
		looked++;
		if (fetch_way(fetch, at.shard, at.offset, at.bytes) == WAY_CACHED)
			cached++;
		else
			fetch->sampled |= UINT64_C(1) << n;
	}
	return cached * 2 > looked;
}

/* At the end: what asking began to read is there by then, and need not be waited for. */
static void forget_samples(const struct fetch *fetch)
{
	struct sample at;

	for (uint32_t n = 0; n < 64; n++)
		if (fetch->sampled >> n & 1 && sample_at(fetch, n, &at))
			fetch_forget(fetch, at.shard, at.offset, at.bytes);
}

void fetch_close(struct fetch *fetch)
{
	forget_samples(fetch);
	for (uint32_t s = 0; fetch->shards && s < wload_checkpoint_shard_count(fetch->ckpt); s++)
		if (fetch->shards[s].direct_fd >= 0)
			close(fetch->shards[s].direct_fd);
	free(fetch->shards);
	fetch->shards = NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static int read_failed(const struct fetch *fetch, uint32_t shard, uint64_t at, int error,
		       struct wload_error *err)
{
	const struct wload_shard *s = wload_checkpoint_shard(fetch->ckpt, shard);

	if (!error)
		return wload_fail(err, ESTALE,
				  "shard '%s' shrank: it ends at byte %" PRIu64 " of %" PRIu64,
				  s->path, at, s->bytes);
	return wload_fail(err, error == ENOMEM || error == ESTALE ? error : EIO,
			  "shard '%s': reading at byte %" PRIu64 ": %s", s->path, at,
			  strerror(error));
}

/* Takes n read bytes off the front of the vectors. */
static void vectors_advance(struct iovec **vectors, int *count, size_t n)
{
	while (*count && n >= (*vectors)->iov_len) {
		n -= (*vectors)->iov_len;
		(*vectors)++;
		(*count)--;
	}
	if (*count) {
		(*vectors)->iov_base = (char *)(*vectors)->iov_base + n;
		(*vectors)->iov_len -= n;
	}
}

/* flags  of preadv2; the one that is refused is EOPNOTSUPP before a byte was read */
static int read_vectors(struct fetch *fetch, uint32_t shard, uint64_t offset, struct iovec *vectors,
			int count, int flags, struct wload_error *err)
{
	int fd = wload_checkpoint_shard(fetch->ckpt, shard)->fd;

	while (count) {
		ssize_t n = preadv2(fd, vectors, count, (off_t)offset, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && flags && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
			return -EOPNOTSUPP;
		if (n <= 0)
			return read_failed(fetch, shard, offset, n < 0 ? errno : 0, err);
		offset += (uint64_t)n;
		vectors_advance(&vectors, &count, (size_t)n);
	}
	return 0;
}

int fetch_scatter(struct fetch *fetch, uint32_t shard, uint64_t offset, struct iovec *vectors,
		  int count, struct wload_error *err)
{
	if (fetch->asked == WLOAD_IO_BUFFERED)
		memory_watch(fetch->memory, shard);
	return read_vectors(fetch, shard, offset, vectors, count, 0, err);
}

static int read_buffered(struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes,
			 uint8_t *slot, int flags, struct wload_error *err)
{
	struct iovec vector = {slot, bytes};

	return read_vectors(fetch, shard, offset, &vector, 1, flags, err);
}

/* Reads, and leaves the page cache as it was, by RWF_DONTCACHE or by our own means. */
static int read_and_drop(struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes,
			 uint8_t *slot, struct wload_error *err)
{
	struct fetch_shard *own = &fetch->shards[shard];
	struct untouched before;
	int r;

	if (!atomic_load_explicit(&own->buffered, memory_order_relaxed)) {
		r = read_buffered(fetch, shard, offset, bytes, slot, RWF_DONTCACHE, err);
		if (r != -EOPNOTSUPP)
			return r;
		atomic_store_explicit(&own->buffered, true, memory_order_relaxed);
	}
	before = untouched_before(wload_checkpoint_shard(fetch->ckpt, shard)->fd, offset, bytes);
	r = read_buffered(fetch, shard, offset, bytes, slot, 0, err);
	untouched_after(&before);
	return r;
}

/* Returns 0, -EOPNOTSUPP when the file is not read that way after all, or fails. */
static int read_direct(struct fetch *fetch, uint32_t shard, uint64_t offset, uint64_t bytes,
		       uint8_t *slot, const uint8_t **ret_bytes, struct wload_error *err)
{
	struct fetch_shard *own = &fetch->shards[shard];
	uint64_t block = own->block, lo = offset & ~(block - 1), need = offset + bytes - lo;
	uint64_t len = (need + block - 1) & ~(block - 1), got = 0;

	while (got < need) {
		ssize_t n = pread(own->direct_fd, slot + got, len - got, (off_t)(lo + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
			atomic_store(&own->refused, true);
			return -EOPNOTSUPP;
		}
		if (n <= 0)
			return read_failed(fetch, shard, lo + got, n < 0 ? errno : 0, err);
		got += (uint64_t)n;
		if (got < need && got % block) { /* the file's end, or a server's whim */
			if ((uint64_t)n < block)
				return -EOPNOTSUPP; /* through the page cache it shows */
			got &= ~(block - 1);
		}
	}
	*ret_bytes = slot + (offset - lo);
	return 0;
}

/* Reads to where in the slot it is told, except by WAY_DIRECT, which needs the blocks' places. */
static int read_to(struct fetch *fetch, enum way *way, uint32_t shard, uint64_t offset,
		   uint64_t bytes, uint8_t *slot, uint8_t *at, const uint8_t **ret_bytes,
		   struct wload_error *err)
{
	int r;

	if (*way == WAY_DIRECT) {
		r = read_direct(fetch, shard, offset, bytes, slot, ret_bytes, err);
		if (r != -EOPNOTSUPP)
			return r;
		*way = WAY_DROP;
	}
	*ret_bytes = at;
	if (*way == WAY_DROP || fetch->asked == WLOAD_IO_BUFFERED)
		memory_watch(fetch->memory, shard);
	if (*way == WAY_DROP)
		return read_and_drop(fetch, shard, offset, bytes, at, err);
	return read_buffered(fetch, shard, offset, bytes, at, 0, err);
}

/* To where its blocks have it, whichever way: the kernel copies pages a third faster to a place
 * that is as aligned as theirs (12.8 GB/s against 8.8 on Zen, 8 bytes apart: headers end anywhere).
 */
int fetch_read(struct fetch *fetch, enum way *way, uint32_t shard, uint64_t offset, uint64_t bytes,
	       uint8_t *slot, const uint8_t **ret_bytes, struct wload_error *err)
{
	return read_to(fetch, way, shard, offset, bytes, slot, slot + offset % FETCH_BLOCK_MAX,
		       ret_bytes, err);
}

/* Direct reads of pieces begin at the same place in their blocks, or the slot would hold them at
 * different distances. Returns the distance; 0: they can't be read so. */
static uint32_t pitch_of(const struct fetch *fetch, enum way way, uint32_t shard,
			 const struct fetch_rows *rows)
{
	uint32_t block = fetch->shards[shard].block, head;

	if (way != WAY_DIRECT)
		return rows->piece;
	if (rows->stride % block)
		return 0;
	head = (uint32_t)(rows->offset % block);
	return (head + rows->piece + block - 1) / block * block;
}

int fetch_read_rows(struct fetch *fetch, enum way *way, uint32_t shard,
		    const struct fetch_rows *rows, uint8_t *slot, const uint8_t **ret_bytes,
		    uint32_t *ret_pitch, struct wload_error *err)
{
	uint64_t span = (uint64_t)(rows->rows - 1) * rows->stride + rows->piece;
	uint32_t pitch = pitch_of(fetch, *way, shard, rows);
	int r = 0;

	if (pitch == 0 || way_reads_gaps(*way, rows->piece, rows->stride)) {
		*ret_pitch = rows->stride;
		return fetch_read(fetch, way, shard, rows->offset, span, slot, ret_bytes, err);
	}
	for (uint32_t i = 0; r == 0 && i < rows->rows; i++) {
		const enum way before = *way;
		const uint8_t *at;

		r = read_to(fetch, way, shard, rows->offset + (uint64_t)i * rows->stride,
			    rows->piece, slot + (size_t)i * pitch, slot + (size_t)i * pitch, &at,
			    err);
		if (r == 0 && *way != before) /* refused: once more, with another distance */
			return fetch_read_rows(fetch, way, shard, rows, slot, ret_bytes, ret_pitch,
					       err);
		if (i == 0)
			*ret_bytes = at;
	}
	*ret_pitch = pitch;
	return r;
}
