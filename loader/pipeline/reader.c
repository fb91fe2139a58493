/* SPDX-License-Identifier: Apache-2.0 */
/* A reader: chunks off the disk into slots, and from the slots to the device.
 *
 * It waits for a slot's copies only when it needs the slot again, so that with three slots one is
 * being read while the others' copies run. Where the device's memory can be addressed, a chunk is
 * read straight into its parameters (one preadv over its placements) and no slot is touched. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>

#include "loader/pipeline/run.h"

/* With more placements than this in a chunk they are small, and one read and many small copies are
 * cheaper than the kernel's walk over as many vectors. */
#define SCATTER_MAX 64

struct reader {
	struct run *run;
	struct device_queue *queue;
	uint8_t *staging;
	struct slots slots;
};

static int read_failed(const struct run *run, const struct reads_chunk *chunk, uint64_t got,
		       int error, struct wload_error *err)
{
	const struct wload_shard *shard = wload_checkpoint_shard(run->ckpt, chunk->shard);
	uint64_t at = chunk->file_offset + got;

	if (!error)
		return wload_fail(err, ESTALE,
				  "shard '%s' shrank: it ends at byte %" PRIu64 " of %" PRIu64,
				  shard->path, at, shard->bytes);
	if (error == ENOMEM || error == ESTALE)
		return wload_fail(err, error, "shard '%s': reading at byte %" PRIu64 ": %s",
				  shard->path, at, strerror(error));
	return wload_fail(err, EIO, "shard '%s': reading at byte %" PRIu64 ": %s", shard->path, at,
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

/* Reads a whole chunk into vectors, which together are as long as it. */
static int read_chunk(struct run *run, const struct reads_chunk *chunk, struct iovec *vectors,
		      int count, struct wload_error *err)
{
	int fd = wload_checkpoint_shard(run->ckpt, chunk->shard)->fd;
	uint64_t got = 0;

	while (got < chunk->bytes) {
		ssize_t n = preadv(fd, vectors, count, (off_t)(chunk->file_offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return read_failed(run, chunk, got, n < 0 ? errno : 0, err);
		got += (uint64_t)n;
		vectors_advance(&vectors, &count, (size_t)n);
		atomic_fetch_add_explicit(&run->bytes_read, (uint64_t)n, memory_order_relaxed);
	}
	return 0;
}

static bool scatters(const struct reader *r, const struct reads_chunk *chunk)
{
	return r->run->device->ops->addressable && chunk->exact &&
	       chunk->end - chunk->first <= SCATTER_MAX;
}

/* Reads a chunk to where it belongs. */
static int scatter_chunk(struct reader *r, uint32_t index, struct wload_error *err)
{
	const struct reads_chunk *chunk = &r->run->reads->chunks[index];
	struct iovec vectors[SCATTER_MAX];
	int count = 0, code;

	for (uint32_t i = chunk->first; i < chunk->end; i++) {
		const struct reads_place *place = &r->run->reads->places[i];
		void *base;

		code = param_memory_get(r->run->memory, place->param, &base, err);
		if (code < 0)
			return code;
		vectors[count++] = (struct iovec){device_at(base, place->dst_offset), place->bytes};
	}
	code = read_chunk(r->run, chunk, vectors, count, err);
	if (code == 0)
		run_arrived(r->run, index);
	return code;
}

/* Waits for the oldest slot's copies. */
static int retire(struct reader *r, struct wload_error *err)
{
	unsigned int slot = slots_retire(&r->slots);
	int code = r->run->device->ops->wait(r->queue, slot, err);

	if (code == 0)
		run_arrived(r->run, r->slots.chunk[slot]);
	return code;
}

static int copy_places(struct reader *r, const struct reads_chunk *chunk, const uint8_t *bytes,
		       struct wload_error *err)
{
	for (uint32_t i = chunk->first; i < chunk->end; i++) {
		const struct reads_place *place = &r->run->reads->places[i];
		void *base;
		int code = param_memory_get(r->run->memory, place->param, &base, err);

		if (code == 0)
			code = r->run->device->ops->copy_in(r->queue, base, place->dst_offset,
							    bytes + place->src_offset, place->bytes,
							    err);
		if (code < 0)
			return code;
	}
	return 0;
}

/* Reads a chunk into a slot, and queues its copies. */
static int stage_chunk(struct reader *r, uint32_t index, struct wload_error *err)
{
	const struct reads_chunk *chunk = &r->run->reads->chunks[index];
	struct iovec vector = {.iov_len = chunk->bytes};
	unsigned int slot;
	int code;

	if (slots_full(&r->slots)) {
		code = retire(r, err);
		if (code < 0)
			return code;
	}
	slot = slots_claim(&r->slots, index);
	vector.iov_base = r->staging + (size_t)slot * r->run->shape.slot_bytes;
	code = read_chunk(r->run, chunk, &vector, 1, err);
	if (code == 0)
		code = copy_places(r, chunk, r->staging + (size_t)slot * r->run->shape.slot_bytes,
				   err);
	return code < 0 ? code : r->run->device->ops->mark(r->queue, slot, err);
}

static int read_all(struct reader *r, struct wload_error *err)
{
	uint32_t index;
	int code = 0;

	while (code == 0 && run_next_chunk(r->run, &index))
		code = scatters(r, &r->run->reads->chunks[index]) ? scatter_chunk(r, index, err)
								  : stage_chunk(r, index, err);
	while (code == 0 && r->slots.busy && !atomic_load(&r->run->stopped))
		code = retire(r, err);
	return code;
}

void *reader_thread(void *arg)
{
	struct run *run = arg;
	const struct device_ops *ops = run->device->ops;
	size_t staging_bytes = (size_t)run->shape.slots * run->shape.slot_bytes;
	struct reader r = {.run = run, .slots = {.count = run->shape.slots}};
	struct wload_error err = {0};
	int code = ops->queue_open(run->device, run->shape.slots, &r.queue, &err);

	if (code == 0)
		code = ops->staging_alloc(run->device, staging_bytes, &r.staging, &err);
	if (code == 0)
		code = read_all(&r, &err);
	if (code < 0)
		run_fail(run, code, &err);
	/* The queue first: copies from the staging may still run. */
	ops->queue_close(r.queue);
	if (r.staging)
		ops->staging_free(run->device, r.staging, staging_bytes);
	run_reader_done(run);
	return NULL;
}
