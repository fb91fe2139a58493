/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of a load on devices that misbehave in the ways that real ones can: one that copies
 * as late as it may (a slot that is filled again too early shows), one that loses a bit, ones that
 * fail. All are the host device with some operations exchanged. */

#include <errno.h>
#include <pthread.h>

#include "checkpoint_of.h"
#include "loader/pipeline/consume.h"
#include "loader/pipeline/fetch.h"
#include "loader/pipeline/run.h"
#include "loader/pipeline/verify.h"
#include "staged_plan.h"
#include "tap.h"

#define COPIES_MAX 65536 /* one a row, at most */

/* A queue that remembers copies, and makes them when a mark behind them is waited for. */
struct device_queue {
	struct {
		void *base;
		uint64_t offset;
		const void *src;
		size_t bytes;
	} copies[COPIES_MAX];
	size_t made, queued;
	size_t marks[SLOTS_A_READER_MAX];
};

static void make_copies(struct device_queue *queue, size_t until)
{
	for (; queue->made < until; queue->made++)
		memcpy(device_at(queue->copies[queue->made].base,
				 queue->copies[queue->made].offset),
		       queue->copies[queue->made].src, queue->copies[queue->made].bytes);
}

static int lazy_open(struct device *device, unsigned int marks, struct device_queue **ret_queue,
		     struct wload_error *err)
{
	(void)device;
	(void)marks;
	*ret_queue = calloc(1, sizeof(**ret_queue));
	return *ret_queue ? 0 : wload_fail(err, ENOMEM, "no queue");
}

static void lazy_close(struct device_queue *queue)
{
	if (queue)
		make_copies(queue, queue->queued);
	free(queue);
}

static int lazy_copy(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		     size_t bytes, struct wload_error *err)
{
	if (queue->queued == COPIES_MAX)
		return wload_fail(err, EIO, "the test's queue is too short");
	queue->copies[queue->queued].base = base;
	queue->copies[queue->queued].offset = offset;
	queue->copies[queue->queued].src = src;
	queue->copies[queue->queued++].bytes = bytes;
	return 0;
}

static int lazy_rows(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		     size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rows; i++)
		r = lazy_copy(queue, base, offset + i * row_bytes,
			      (const uint8_t *)src + i * src_stride, row_bytes, err);
	return r;
}

static int lazy_mark(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	(void)err;
	queue->marks[mark] = queue->queued;
	return 0;
}

static int lazy_wait(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	(void)err;
	make_copies(queue, queue->marks[mark]);
	return 0;
}

/* The largest copies are the likely ones to hold some byte in the middle of a tensor. */
static int lossy_copy(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		      size_t bytes, struct wload_error *err)
{
	int r = device_host.copy_in(queue, base, offset, src, bytes, err);

	if (bytes > 1000 && offset == 0)
		((uint8_t *)base)[777] ^= 0x10;
	return r;
}

static int failing_copy(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			size_t bytes, struct wload_error *err)
{
	(void)queue;
	(void)base;
	(void)src;
	(void)bytes;
	return offset ? wload_fail(err, EIO, "the device fell off the bus") : 0;
}

static int failing_open(struct device *device, unsigned int marks, struct device_queue **ret_queue,
			struct wload_error *err)
{
	(void)device;
	(void)ret_queue;
	return wload_fail(err, EIO, "no queue of %u marks", marks);
}

static int failing_alloc(struct device *device, uint64_t bytes, bool transient, void **ret_base,
			 struct wload_error *err)
{
	if (bytes > 100000)
		return wload_fail(err, ENOMEM, "no %llu bytes", (unsigned long long)bytes);
	return device_host.alloc(device, bytes, transient, ret_base, err);
}

static int failing_wait(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	(void)queue;
	return wload_fail(err, EIO, "mark %u never came", mark);
}

/* Of all parts of rank 1 of 2 only mlp.down_proj's, half of 3200 rows of 64, is that long. */
#define FORGOTTEN_BYTES ((size_t)3200 * 64)

static int forgetful_copy(struct device_queue *queue, void *dst, const void *base, uint64_t offset,
			  size_t bytes, struct wload_error *err)
{
	int r = device_host.copy_out(queue, dst, base, offset, bytes, err);

	if (bytes == FORGOTTEN_BYTES)
		((uint8_t *)dst)[777] ^= 0x10;
	return r;
}

/* Steps whose result is not right, of all but the shortest parameters. */
static int wrong_transform(struct device_queue *queue, const struct wload_param *param,
			   const void *staged, void *base, struct wload_error *err)
{
	int r = device_host.transform(queue, param, staged, base, err);

	if (param->bytes > 1000000)
		((uint8_t *)base)[1000001] ^= 0x10;
	return r;
}

static int failing_transform(struct device_queue *queue, const struct wload_param *param,
			     const void *staged, void *base, struct wload_error *err)
{
	(void)queue;
	(void)staged;
	(void)base;
	return wload_fail(err, EBADMSG, "parameter '%s': values that must be equal are not",
			  param->name);
}

enum device_fault {
	LAZY,
	LOSSY,
	FORGETFUL,
	NO_COPY,
	NO_QUEUE,
	NO_MEMORY,
	WRONG,
	NO_TRANSFORM,
	NO_FAULT,
	NO_WAIT,
	FAULTS
};

static struct device_ops faulty_ops(enum device_fault fault, bool slow)
{
	struct device_ops ops = device_host;

	ops.addressable = fault == NO_FAULT;
	ops.slow_copies = slow;
	switch (fault) {
	case LAZY:
		ops.queue_open = lazy_open;
		ops.queue_close = lazy_close;
		ops.copy_in = lazy_copy;
		ops.copy_rows = lazy_rows;
		ops.mark = lazy_mark;
		ops.wait = lazy_wait;
		break;
	case LOSSY:
		ops.copy_in = lossy_copy;
		break;
	case FORGETFUL:
		ops.copy_out = forgetful_copy;
		break;
	case NO_COPY:
		ops.copy_in = failing_copy;
		break;
	case NO_QUEUE:
		ops.queue_open = failing_open;
		break;
	case NO_MEMORY:
		ops.alloc = failing_alloc;
		break;
	case WRONG:
		ops.transform = wrong_transform;
		break;
	case NO_TRANSFORM:
		ops.transform = failing_transform;
		break;
	case NO_FAULT:
		break;
	default:
		ops.wait = failing_wait;
		break;
	}
	return ops;
}

static const struct row {
	const char *name;
	enum device_fault fault;
	bool release, verify;
	enum wload_io io;
	bool slow; /* copies are put together */
	int want;
	const char *words; /* that the error holds */
	bool rank;	   /* the plan of rank 1 of 2, with a piece of each row of some tensors */
	bool steps;	   /* matrices are made by steps */
} rows[] = {
	{"copies that are late", LAZY, false, false, WLOAD_IO_AUTO, false, 0, "", false, false},
	{"copies that are late, verified", LAZY, false, true, WLOAD_IO_AUTO, false, 0, "", false,
	 false},
	{"copies that are late, released", LAZY, true, false, WLOAD_IO_AUTO, false, 0, "", false,
	 false},
	{"copies that are late, put together", LAZY, false, true, WLOAD_IO_AUTO, true, 0, "", false,
	 false},
	{"past the page cache", LAZY, false, true, WLOAD_IO_DIRECT, false, 0, "", false, false},
	{"past the page cache, put together", LAZY, false, true, WLOAD_IO_DIRECT, true, 0, "",
	 false, false},
	{"put together, released", LAZY, true, true, WLOAD_IO_DIRECT, true, 0, "", false, false},
	{"a bit that is lost", LOSSY, false, true, WLOAD_IO_AUTO, false, -EBADMSG, "byte 777",
	 false, false},
	{"a bit that is lost, released", LOSSY, true, true, WLOAD_IO_AUTO, false, -EBADMSG,
	 "byte 777", false, false},
	{"copies that fail", NO_COPY, false, false, WLOAD_IO_AUTO, false, -EIO, "fell off", false,
	 false},
	{"copies that fail, released", NO_COPY, true, true, WLOAD_IO_AUTO, false, -EIO, "fell off",
	 false, false},
	{"no queue", NO_QUEUE, false, true, WLOAD_IO_AUTO, false, -EIO, "no queue", false, false},
	{"memory that runs out", NO_MEMORY, true, false, WLOAD_IO_AUTO, false, -ENOMEM, "bytes",
	 false, false},
	{"marks that fail", NO_WAIT, false, true, WLOAD_IO_AUTO, false, -EIO, "never came", false,
	 false},
	{"one rank of two", LAZY, false, false, WLOAD_IO_AUTO, false, 0, "", true, false},
	{"one rank of two, past the page cache", LAZY, false, true, WLOAD_IO_DIRECT, true, 0, "",
	 true, false},
	{"one rank of two, nothing lost", FORGETFUL, false, false, WLOAD_IO_AUTO, false, 0, "",
	 true, false},
	{"a bit that is lost of a piece of a row", FORGETFUL, false, true, WLOAD_IO_AUTO, false,
	 -EBADMSG,
	 /* piece 12 of 64 bytes, the second half of each 128 */
	 "mlp.down_proj.weight' differs at byte 1609", true, false},
	{"steps", LAZY, false, false, WLOAD_IO_AUTO, false, 0, "", false, true},
	{"steps, verified", LAZY, false, true, WLOAD_IO_AUTO, false, 0, "", false, true},
	{"steps, put together", LAZY, false, true, WLOAD_IO_DIRECT, true, 0, "", false, true},
	{"steps, released", LAZY, true, true, WLOAD_IO_AUTO, false, 0, "", false, true},
	{"steps, read to where they belong", NO_FAULT, false, true, WLOAD_IO_BUFFERED, false, 0, "",
	 false, true},
	{"steps, one rank of two", LAZY, false, true, WLOAD_IO_AUTO, false, 0, "", true, true},
	{"steps whose result is wrong", WRONG, false, true, WLOAD_IO_AUTO, false, -EBADMSG,
	 "differs at byte 1000001: ", false, true},
	{"steps that fail", NO_TRANSFORM, false, false, WLOAD_IO_AUTO, false, -EBADMSG,
	 "must be equal", false, true},
	{"steps that fail, released", NO_TRANSFORM, true, false, WLOAD_IO_AUTO, false, -EBADMSG,
	 "must be equal", false, true},
	{"no memory to stage in", NO_MEMORY, true, false, WLOAD_IO_AUTO, false, -ENOMEM, "bytes",
	 false, true},
};

static void run_threads(struct run *run)
{
	pthread_t readers[4], finisher;

	run->readers_left = run->shape.readers;
	for (unsigned int i = 0; i < run->shape.readers; i++)
		(void)pthread_create(&readers[i], NULL, reader_thread, run);
	(void)pthread_create(&finisher, NULL, finisher_thread, run);
	while (!run_wait(run, run_now_ns() + 1000000000u))
		;
	for (unsigned int i = 0; i < run->shape.readers; i++)
		pthread_join(readers[i], NULL);
	pthread_join(finisher, NULL);
}

/* Is a parameter what its sources are? */
static bool parts_match(const struct run *run, const struct wload_param *param,
			const uint8_t *bytes)
{
	for (uint32_t i = 0; i < param->source_count; i++) {
		const struct wload_source *s = &param->sources[i];
		const char *name = wload_inventory_tensor(run->inv, s->tensor).name;
		uint64_t piece = s->bytes / s->rows;

		for (uint64_t b = 0; b < s->bytes; b++)
			if (bytes[s->dst_offset + b] !=
			    llama_byte(name, s->src_offset + b / piece * s->src_stride + b % piece))
				return false;
	}
	return true;
}

static bool matches(const struct run *run, const struct llama *llama, uint32_t p)
{
	const struct wload_param *param = wload_plan_param(run->plan, p);
	const uint8_t *bytes = run->memory->bases[p];

	if (param->step_count)
		return staged_matches(run->inv, param, bytes);
	if (wload_plan_tp(run->plan) > 1)
		return parts_match(run, param, bytes);
	return llama_matches(param->name, bytes, param->bytes, llama->scale);
}

static bool all_match(const struct run *run, const struct llama *llama)
{
	for (uint32_t p = 0; p < wload_plan_count(run->plan); p++)
		if (!matches(run, llama, p))
			return false;
	return true;
}

static int tell(void *ctx, const char *const *names, size_t name_count, bool read,
		bool *ret_changed, struct wload_error *err)
{
	(void)ctx;
	(void)read;
	(void)names;
	(void)err;
	memset(ret_changed, true, name_count);
	return 0;
}

/* Was nothing of a parameter that differs given up? */
static bool keeps_what_differs(const struct run *run, const struct llama *llama)
{
	for (uint32_t p = 0; p < wload_plan_count(run->plan); p++) {
		const struct wload_param *param = wload_plan_param(run->plan, p);

		if (!run->memory->bases[p] || matches(run, llama, p))
			continue;
		for (uint32_t s = 0; s < param->source_count; s++)
			if (!run->consume->left[param->sources[s].tensor])
				return false;
	}
	return true;
}

static void check_row(struct tap *tap, const struct row *row, const struct wload_checkpoint *ckpt,
		      const struct wload_plan *plan, const struct llama *llama)
{
	const struct device_ops ops = faulty_ops(row->fault, row->slow);
	struct device device = {.ops = &ops, .label = "faulty"};
	const struct wload_inventory *inv = wload_checkpoint_inventory(ckpt);
	struct reads reads = {0};
	struct fetch fetch = {0};
	struct param_memory memory = {0};
	struct verify verify;
	struct consume consume = {0};
	struct wload_error err = {0};
	struct run run = {.ckpt = ckpt,
			  .inv = inv,
			  .plan = plan,
			  .device = &device,
			  .reads = &reads,
			  .fetch = &fetch,
			  .memory = &memory,
			  .shape = {4, 2, SLOT_BYTES_MIN},
			  .backlog_max = RUN_BACKLOG_BYTES,
			  .verify = row->verify ? &verify : NULL,
			  .consume = &consume};

	run.staging = aligned_alloc(FETCH_BLOCK_MAX, (size_t)4 * 2 * SLOT_BYTES_MIN);
	verify_open(&verify, ckpt, NULL, 1);
	if (ok(tap,
	       reads_build(inv, plan, SLOT_BYTES_MIN, &reads, &err) == 0 &&
		       fetch_open(&fetch, ckpt, row->io, &err) == 0 &&
		       param_memory_open(&memory, &device, plan, row->release, &err) == 0 &&
		       consume_open(&consume, inv, plan, tell, NULL, &err) == 0 &&
		       run_init(&run, &err) == 0,
	       "%s: ready", row->name)) {
		run_threads(&run);
		ok(tap,
		   run.result == row->want && strstr(run.error.text, row->words) &&
			   (row->want || row->release || all_match(&run, llama)),
		   "%s (%d %s)", row->name, run.result, run.error.text);
		if (row->verify && !row->release)
			ok(tap, keeps_what_differs(&run, llama),
			   "%s: consumed only what was compared", row->name);
		run_destroy(&run);
	}
	consume_close(&consume);
	free(run.staging);
	fetch_close(&fetch);
	verify_close(&verify);
	param_memory_close(&memory);
	reads_free(&reads);
}

/* All of it and rank 1 of 2, each without steps and with. */
struct plans {
	struct wload_plan *made[2][2];
	struct wload_step *steps[2];
};

static int make_plans(const struct wload_checkpoint *ckpt, struct plans *plans,
		      struct wload_error *err)
{
	static const char config[] = "{\"model_type\": \"llama\", \"num_attention_heads\": 8, "
				     "\"num_key_value_heads\": 2}";
	const struct wload_inventory *inv = wload_checkpoint_inventory(ckpt);
	const struct wload_plan_options second = {.tp = 2, .rank = 1};
	int r = 0;

	for (int rank = 0; r == 0 && rank < 2; rank++)
		for (int steps = 0; r == 0 && steps < 2; steps++)
			r = wload_plan_build(inv, config, rank ? &second : NULL,
					     &plans->made[rank][steps], err);
	for (int rank = 0; r == 0 && rank < 2; rank++)
		if (staged_plan(plans->made[rank][1], &plans->steps[rank]) < 4 * LLAMA_LAYERS)
			r = -1;
	return r;
}

int main(void)
{
	struct plans plans = {0};
	struct wload_checkpoint *ckpt = NULL;
	struct wload_error err = {0};
	struct tap tap = {0};
	struct llama llama;

	if (ok(&tap,
	       llama_make(&llama, 40) == 0 &&
		       wload_checkpoint_open(llama.folder, NULL, NULL, &ckpt, &err) == 0 &&
		       make_plans(ckpt, &plans, &err) == 0,
	       "a checkpoint %s", err.text))
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			check_row(&tap, &rows[i], ckpt, plans.made[rows[i].rank][rows[i].steps],
				  &llama);
	for (int rank = 0; rank < 2; rank++) {
		wload_plan_free(plans.made[rank][0]);
		wload_plan_free(plans.made[rank][1]);
		free(plans.steps[rank]);
	}
	wload_checkpoint_close(ckpt);
	llama_remove(&llama);
	return tap_done(&tap);
}
