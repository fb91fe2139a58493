/* SPDX-License-Identifier: Apache-2.0 */
/* The finisher: what happens to a parameter once all its bytes arrived and its steps were run, in
 * this order: compare it with its sources, write it out, consume sources that nobody needs any
 * more, free it. What is still due at the end is left to the caller: only then what was written out
 * gets its names. */

#include <errno.h>
#include <inttypes.h>

#include "loader/pipeline/consume.h"
#include "loader/pipeline/module_calls.h"
#include "loader/pipeline/out.h"
#include "loader/pipeline/run.h"
#include "loader/pipeline/second.h"
#include "loader/pipeline/verify.h"
#include "loader/transform/transform.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define CLOSE_BYTES ((uint64_t)64 << 10)

struct finisher {
	struct run *run;
	struct device_queue *queue;
	uint8_t *staging; /* one piece from the device, one from the second path, and room for
			   * what that needs; or NULL */
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Bytes of a parameter: where they are, if that can be addressed, else a copy in the staging. */
static int param_bytes(struct finisher *f, const void *base, uint64_t offset, size_t n,
		       const uint8_t **ret_bytes, struct wload_error *err)
{
	const struct device_ops *ops = f->run->device->ops;

	if (ops->addressable) {
		*ret_bytes = device_at(base, offset);
		return 0;
	}
	*ret_bytes = f->staging;
	return ops->copy_out(f->queue, f->staging, base, offset, n, err);
}

/* What is compared at once: n bytes from `at` of each of some pieces of a source. */
struct stretch {
	uint32_t first, pieces;
	uint64_t at; /* 0 where there are several pieces, and n all of each */
	size_t n;
};

/* Pieces that lie close are read with what is between them: a read each, through a mount one
 * request each, would take far longer than the bytes. */
static struct stretch next_stretch(const struct wload_source *source, uint32_t first, uint64_t at)
{
	uint64_t piece = source->bytes / source->rows;
	struct stretch s = {
		.first = first, .pieces = 1, .at = at, .n = (size_t)least(PIECE_BYTES, piece - at)};

	if (at == 0 && source->rows > 1 && source->src_stride <= CLOSE_BYTES)
		s.pieces = (uint32_t)least(PIECE_BYTES / source->src_stride, source->rows - first);
	return s;
}

static int tell_difference(const struct finisher *f, const struct wload_source *source, uint64_t at,
			   uint8_t loaded, uint8_t there, struct wload_error *err)
{
	return wload_fail(
		err, EBADMSG,
		"tensor '%s' differs at byte %" PRIu64 ": 0x%02x was loaded, 0x%02x is there",
		wload_inventory_tensor(f->run->inv, source->tensor).name, at, loaded, there);
}

static int verify_stretch(struct finisher *f, const struct wload_source *source, const void *base,
			  const struct stretch *s, struct wload_error *err)
{
	uint64_t piece = source->bytes / source->rows, stride = source->src_stride;
	uint64_t src = source->src_offset + s->first * stride + s->at;
	uint64_t dst = source->dst_offset + s->first * piece + s->at;
	uint8_t *again = f->staging + PIECE_BYTES;
	const uint8_t *loaded = NULL;
	int r = verify_read(f->run->verify, source->tensor, src, again,
			    (size_t)((s->pieces - 1) * stride) + s->n, err);

	if (r == 0)
		r = param_bytes(f, base, dst, s->pieces * s->n, &loaded, err);
	for (uint32_t i = 0; r == 0 && i < s->pieces; i++) {
		const uint8_t *got = loaded + i * s->n, *there = again + i * stride;
		size_t differs = verify_difference(got, there, s->n);

		if (differs < s->n)
			r = tell_difference(f, source, src + i * stride + differs, got[differs],
					    there[differs], err);
	}
	if (r == 0)
		atomic_fetch_add_explicit(&f->run->bytes_verified, s->pieces * s->n,
					  memory_order_relaxed);
	return r;
}

static int verify_source(struct finisher *f, const struct wload_source *source, const void *base,
			 struct wload_error *err)
{
	uint64_t piece = source->bytes / source->rows, at = 0;
	uint32_t first = 0;

	while (piece && first < source->rows) {
		struct stretch s = next_stretch(source, first, at);
		int r;

		if (atomic_load(&f->run->stopped))
			return 0;
		r = verify_stretch(f, source, base, &s, err);
		if (r < 0)
			return r;
		at += s.n;
		if (at == piece) {
			first += s.pieces;
			at = 0;
		}
	}
	return 0;
}

static int verify_made_piece(struct finisher *f, const struct wload_param *param, const void *base,
			     uint64_t at, size_t n, struct wload_error *err)
{
	uint8_t *again = f->staging + PIECE_BYTES;
	struct second second = {
		.verify = f->run->verify, .param = param, .scratch = f->staging + 2 * PIECE_BYTES};
	const uint8_t *loaded = NULL;
	size_t differs;
	int r = transform_window(param, at, at + n, second_read, &second, again, err);

	if (r == 0)
		r = param_bytes(f, base, at, n, &loaded, err);
	if (r < 0)
		return r;
	atomic_fetch_add_explicit(&f->run->bytes_verified, n, memory_order_relaxed);
	differs = verify_difference(loaded, again, n);
	if (differs == n)
		return 0;
	return wload_fail(err, EBADMSG,
			  "parameter '%s' differs at byte %" PRIu64
			  ": 0x%02x was made, and its sources give 0x%02x",
			  param->name, at + differs, loaded[differs], again[differs]);
}

/* One that steps made: they are run once more, on the host, on bytes from the second path. */
static int verify_made(struct finisher *f, const struct wload_param *param, const void *base,
		       struct wload_error *err)
{
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < param->bytes; at += PIECE_BYTES) {
		if (atomic_load(&f->run->stopped))
			return 0;
		r = verify_made_piece(f, param, base, at,
				      (size_t)least(PIECE_BYTES, param->bytes - at), err);
	}
	return r;
}

static int verify_sources(struct finisher *f, const struct wload_param *param, const void *base,
			  struct wload_error *err)
{
	int r = 0;

	for (uint32_t s = 0; r == 0 && s < param->source_count; s++) {
		if (atomic_load(&f->run->stopped))
			return 0;
		r = verify_source(f, &param->sources[s], base, err);
	}
	return r;
}

static int verify_param(struct finisher *f, const struct wload_param *param, const void *base,
			struct wload_error *err)
{
	int r = param->step_count ? verify_made(f, param, base, err)
				  : verify_sources(f, param, base, err);

	/* A tensor's file must not be open when the tensor is consumed. */
	if (f->run->verify->mount)
		verify_close(f->run->verify);
	return r;
}

static int write_param(struct finisher *f, uint32_t index, const struct wload_param *param,
		       const void *base, struct wload_error *err)
{
	for (uint64_t at = 0; at < param->bytes; at += PIECE_BYTES) {
		size_t n = (size_t)least(PIECE_BYTES, param->bytes - at);
		const uint8_t *bytes = NULL;
		int r = param_bytes(f, base, at, n, &bytes, err);

		if (r == 0)
			r = out_write(f->run->out, index, at, bytes, n, err);
		if (r < 0 || atomic_load(&f->run->stopped))
			return r;
	}
	return 0;
}

/* What is left to do for a parameter when nobody will look at it any more. */
static int let_go(struct finisher *f, uint32_t index, struct wload_error *err)
{
	struct run *run = f->run;
	int r = 0;

	if (run->consume && !atomic_load(&run->stopped))
		r = consume_param(run->consume, index, run_now_ns(), err);
	if (run->module_calls)
		module_calls_forget(run->module_calls, index);
	param_memory_release(run->memory, index);
	return r;
}

/* The same by modules, once the engine has had each. */
static int let_modules_go(struct finisher *f, uint32_t index, void *base, struct wload_error *err)
{
	const uint32_t *params = NULL;
	uint32_t count;
	int r = module_calls_arrived(f->run->module_calls, index, base, &params, &count, err);

	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = let_go(f, params[i], err);
	return r;
}

static int finish_param(struct finisher *f, uint32_t index, struct wload_error *err)
{
	struct run *run = f->run;
	const struct wload_param *param = wload_plan_param(run->plan, index);
	bool unmade = param->step_count && param->source_bytes == 0; /* nothing arrived */
	void *base;
	int r = unmade ? make_param(run, f->queue, index, err) : 0;

	if (r == 0)
		r = param_memory_own(run->memory, index, &base, err);
	if (r == 0 && run->verify && verify_wanted(run->verify, index))
		r = verify_param(f, param, base, err);
	if (r == 0 && run->out)
		r = write_param(f, index, param, base, err);
	if (r == 0)
		r = run->module_calls ? let_modules_go(f, index, base, err) : let_go(f, index, err);
	run_finish_param(run, index);
	return r;
}

static int finish_all(struct finisher *f, struct wload_error *err)
{
	struct consume *consume = f->run->consume;

	for (;;) {
		uint64_t deadline = consume ? consume_deadline_ns(consume) : 0;
		uint32_t param;
		int r = 0;

		switch (run_take(f->run, deadline, &param)) {
		case RUN_PARAM:
			r = finish_param(f, param, err);
			break;
		case RUN_TIMEOUT:
			r = consume_flush(consume, err);
			break;
		case RUN_END:
		case RUN_STOPPED:
			return 0;
		}
		if (r < 0)
			return r;
	}
}

void *finisher_thread(void *arg)
{
	struct run *run = arg;
	const struct device_ops *ops = run->device->ops;
	size_t staging_bytes = 2 * PIECE_BYTES + SECOND_SCRATCH_BYTES;
	struct finisher f = {.run = run};
	struct wload_error err = {0};
	int code = ops->queue_open(run->device, 0, &f.queue, &err);

	if (code == 0 && (run->verify || run->out))
		code = ops->staging_alloc(run->device, staging_bytes, &f.staging, &err);
	if (code == 0)
		code = finish_all(&f, &err);
	if (code < 0)
		run_fail(run, code, &err);
	ops->queue_close(f.queue);
	if (f.staging)
		ops->staging_free(run->device, f.staging, staging_bytes);
	run_finisher_done(run);
	return NULL;
}
