/* SPDX-License-Identifier: Apache-2.0 */
/* wload_load(): opens everything, checks everything, runs the threads, and tells what happened.
 *
 * The device is opened before the checkpoint, although a wrong path would be found sooner the other
 * way round: what the process holds with nothing but a device context is the zero that
 * peak_host_bytes is measured from, and the inventory and plan count. */

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/device/host_memory.h"
#include "loader/pipeline/consume.h"
#include "loader/pipeline/fetch.h"
#include "loader/pipeline/memory.h"
#include "loader/pipeline/module_calls.h"
#include "loader/pipeline/out.h"
#include "loader/plan/out_layout.h"
#include "loader/pipeline/result.h"
#include "loader/pipeline/run.h"
#include "loader/pipeline/source.h"
#include "loader/pipeline/verify.h"

#define PROGRESS_NS UINT64_C(100000000)

/* One load, while it is going on. */
struct load {
	const struct wload_load_options *options;
	struct wload_load *result;
	struct source source;
	struct wload_plan *plan;
	struct reads reads;
	struct fetch fetch;
	struct verify verify;
	struct consume consume;
	struct module_calls module_calls;
	struct out *out;
	struct memory *memory;
	uint64_t resident_before; /* with the device open */
	struct run run;
	bool run_open, verifying;
	struct slots_shape shapes[2]; /* of an uncached checkpoint, of a cached one */
	pthread_t *readers, finisher;
	unsigned int readers_started;
	bool finisher_started;
};

static void load_close(struct load *l)
{
	(void)memory_stop(l->memory); /* before the result, which it writes its looks to */
	if (l->run_open)
		run_destroy(&l->run);
	if (l->result)
		param_memory_unstage_all(&l->result->memory); /* others may keep the result */
	wload_load_unref(l->result); /* before the plan, which says how large its memory is */
	if (l->verifying)
		verify_close(&l->verify);
	consume_close(&l->consume);
	module_calls_close(&l->module_calls);
	out_close(l->out);
	fetch_close(&l->fetch);
	reads_free(&l->reads);
	wload_plan_free(l->plan);
	source_close(&l->source);
	free(l->readers);
}

static unsigned int cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	return (unsigned int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Every which parameter is compared; 0: none. */
static uint32_t verified(const struct wload_load_options *options)
{
	return options->verify_every ? options->verify_every : options->verify;
}

static int check_options(const char *path, const struct wload_load_options *options,
			 const struct device_choice *choice, struct wload_error *err)
{
	const char *device = choice->ops->name;
	struct stat st;

	if (options->out_dir && !choice->ops->keeps)
		return wload_fail(err, EINVAL, "out '%s': device '%s' keeps nothing to write",
				  options->out_dir, device);
	if (verified(options) && !choice->ops->keeps)
		return wload_fail(err, EINVAL, "verify: device '%s' keeps nothing to compare",
				  device);
	if (stat(path, &st) < 0 && errno == ENOENT)
		return wload_fail(err, ENOENT, "'%s' does not exist", path);
	return 0;
}

static int shape_slots(struct load *l, bool cached, struct slots_shape *ret_shape,
		       struct wload_error *err)
{
	const struct wload_load_options *o = l->options;
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	struct slots_machine machine = {.cores = cores(),
					.cache_bytes = cache > 0 ? (uint64_t)cache : 0,
					.copies = l->result->device->ops->slow_copies,
					.cached = cached};

	if (slots_shape(o->staging_bytes, o->threads, &machine, ret_shape) < 0)
		return wload_fail(err, EINVAL, "%" PRIu64 " bytes of staging are below %" PRIu32,
				  o->staging_bytes, 2 * SLOT_BYTES_MIN);
	return 0;
}

/* Opens the device, and has the staging made beside what follows: enough for either way to divide
 * it. Both are found now, once: the processors that we may run on can change meanwhile. */
static int open_device(struct load *l, const struct device_choice *choice, struct wload_error *err)
{
	size_t bytes = 0;
	int r = device_open(choice, &l->result->device, err);

	l->resident_before = host_memory_resident(0);
	for (int cached = 0; r == 0 && cached < 2; cached++) {
		r = shape_slots(l, cached, &l->shapes[cached], err);
		if (r == 0 && slots_bytes(&l->shapes[cached]) > bytes)
			bytes = slots_bytes(&l->shapes[cached]);
	}
	if (r < 0)
		return r;
	pinned_begin(&l->result->pinned, l->result->device, bytes);
	return 0;
}

/* The checkpoint and what is to be made of it. */
static int open_plan(struct load *l, const char *path, struct wload_error *err)
{
	struct wload_plan_options wanted = {.rules = l->options->rules,
					    .tp = l->options->tp,
					    .ep = l->options->ep,
					    .layout = l->options->layout,
					    .names = l->options->names,
					    .dequantise = l->options->dequantise,
					    .swizzle = l->options->swizzle,
					    .dtype = l->options->dtype};
	int r = source_open(path, &l->source, err);

	wanted.rank = l->options->rank;
	if (r == 0)
		r = source_slice(&l->source, path, &wanted, err);
	if (r < 0)
		return r;
	r = wload_plan_build(wload_checkpoint_inventory(l->source.ckpt),
			     wload_checkpoint_config(l->source.ckpt), &wanted, &l->plan, err);
	if (r < 0)
		return r;
	return source_refuse_consumed(&l->source, l->plan, err);
}

static int open_reads(struct load *l, struct wload_error *err)
{
	int r = fetch_open(&l->fetch, l->source.ckpt, l->options->io, err);

	if (r < 0)
		return r;
	l->run.shape = l->shapes[fetch_mostly_cached(&l->fetch)];
	return reads_build(wload_checkpoint_inventory(l->source.ckpt), l->plan,
			   l->run.shape.slot_bytes, &l->reads, err);
}

static int check_shard(void *ctx, uint32_t shard, struct wload_error *err)
{
	return wload_checkpoint_check(ctx, shard, err);
}

static int open_consume(struct load *l, struct wload_error *err)
{
	struct wload_error why = {0};
	int r = wload_mount_may_consume(l->source.mount, &why);

	if (r < 0)
		return wload_fail(err, -r, "%s; it can be loaded with --no-consume", why.text);
	r = consume_open(&l->consume, wload_checkpoint_inventory(l->source.ckpt), l->plan,
			 consume_on_mount, l->source.mount, err);
	l->consume.check = check_shard;
	l->consume.check_ctx = l->source.ckpt;
	return r;
}

/* Is anything freed before the end, and does somebody look at complete parameters until then? */
static enum param_release release_of(const struct load *l)
{
	const struct wload_load_options *o = l->options;

	if (!o->release)
		return o->apart ? PARAM_APART : PARAM_KEPT;
	return l->result->device->ops->discard && !verified(o) && !o->out_dir && !o->module_done
		       ? PARAM_GRANULES
		       : PARAM_WHOLE;
}

static uint64_t backlog_of(const struct load *l)
{
	return param_releases(release_of(l)) && l->result->device->ops->addressable
		       ? RUN_BACKLOG_HOST_BYTES
		       : RUN_BACKLOG_BYTES;
}

/* Does the device have the memory? Asked when all that the plan takes of the host's is taken. */
static int check_memory(struct load *l, struct wload_error *err)
{
	const struct slots_shape *shape = &l->run.shape;
	uint64_t staging = l->result->pinned.bytes;
	uint64_t bytes;
	int r;

	l->run.backlog_max = backlog_of(l);
	r = param_memory_live(l->plan, &l->reads, (size_t)shape->readers * shape->slots,
			      l->run.backlog_max, release_of(l), &bytes, err);
	return r < 0 ? r : param_memory_fits(l->result->device, bytes, staging, err);
}

/* One rank of several, at a place where what it consumed would be gone for the others too. */
static bool leaves_to_others(const struct load *l)
{
	return wload_plan_tp(l->plan) > 1 && !l->source.of_rank;
}

/* What the finisher needs. */
static int open_finish(struct load *l, struct wload_error *err)
{
	const struct wload_load_options *o = l->options;
	int r = 0;

	if (verified(o)) {
		verify_open(&l->verify, l->source.ckpt, l->source.root, verified(o));
		l->verify.memory = l->memory;
		l->verifying = true;
	}
	if (l->source.mount && !o->keep && !leaves_to_others(l))
		r = open_consume(l, err);
	if (r == 0 && o->out_dir)
		r = out_open(o->out_dir, l->plan, wload_checkpoint_config(l->source.ckpt),
			     OUT_SHARD_BYTES, &l->out, err);
	return r;
}

/* An engine that is told of modules looks into the load before its end. */
static int open_module_calls(struct load *l, struct wload_error *err)
{
	int r;

	if (!l->options->module_done)
		return 0;
	r = result_fill(l->result, wload_checkpoint_inventory(l->source.ckpt), l->plan, err);
	if (r == 0)
		r = module_calls_open(&l->module_calls, l->result, l->plan, l->options, err);
	l->run.module_calls = &l->module_calls;
	return r;
}

static int open_run(struct load *l, struct wload_error *err)
{
	struct run *run = &l->run;
	int r;

	run->ckpt = l->source.ckpt;
	run->inv = wload_checkpoint_inventory(l->source.ckpt);
	run->plan = l->plan;
	run->device = l->result->device;
	run->reads = &l->reads;
	l->fetch.memory = l->memory;
	run->fetch = &l->fetch;
	run->memory = &l->result->memory;
	run->verify = l->verifying ? &l->verify : NULL;
	run->out = l->out;
	if (l->consume.left) {
		run->consume = &l->consume;
		l->consume.consumed_tensors = &run->consumed_tensors;
		l->consume.consumed_bytes = &run->consumed_bytes;
	}
	l->readers = calloc(run->shape.readers, sizeof(*l->readers));
	if (!l->readers)
		return wload_fail(err, ENOMEM, "no memory for %u readers", run->shape.readers);
	l->run_open = true;
	r = run_init(run, err);
	return r < 0 ? r : pinned_wait(&l->result->pinned, &run->staging, err);
}

/* Everything that can refuse the load does so here, before a byte is read. */
static int prepare(struct load *l, const char *path, struct wload_error *err)
{
	struct device_choice choice;
	int r = device_choose(l->options->device, &choice, err);

	if (r == 0)
		r = check_options(path, l->options, &choice, err);
	if (r == 0)
		r = open_device(l, &choice, err);
	if (r == 0)
		r = open_plan(l, path, err);
	if (r == 0)
		r = open_reads(l, err);
	if (r == 0)
		r = check_memory(l, err);
	if (r == 0)
		r = memory_start(l->source.ckpt, l->resident_before, l->source.daemon_pid,
				 &l->run.bytes_placed, &l->result->timeline, &l->memory, err);
	if (r == 0)
		r = param_memory_open(&l->result->memory, l->result->device, l->plan, release_of(l),
				      err);
	if (r == 0)
		r = open_finish(l, err);
	if (r == 0)
		r = open_module_calls(l, err);
	return r < 0 ? r : open_run(l, err);
}

static void start_failed(struct load *l, int error)
{
	struct wload_error err = {0};

	(void)wload_fail(&err, error, "no thread for the load: %s", strerror(error));
	run_fail(&l->run, -error, &err);
}

/* Starts the threads; one that can't be started stops the load. */
static void start(struct load *l)
{
	struct run *run = &l->run;
	int error = 0;

	/* Nobody else looks at these yet. */
	run->readers_left = run->shape.readers;
	while (!error && l->readers_started < run->shape.readers) {
		error = pthread_create(&l->readers[l->readers_started], NULL, reader_thread, run);
		l->readers_started += !error;
	}
	if (!error) {
		error = pthread_create(&l->finisher, NULL, finisher_thread, run);
		l->finisher_started = !error;
	}
	if (error)
		start_failed(l, error);
	if (!l->finisher_started)
		run_finisher_done(run);
}

/* Tells how far the load is. Returns true to go on. */
static bool tell_progress(struct load *l, uint64_t start_ns)
{
	struct wload_progress now = {
		.bytes_total = l->reads.read_bytes,
		.bytes_read = atomic_load(&l->run.bytes_read),
		.host_bytes = memory_now(l->memory),
		.consumed_bytes = atomic_load(&l->run.consumed_bytes),
		.seconds = (double)(run_now_ns() - start_ns) / 1e9,
	};

	return !l->options->progress || l->options->progress(l->options->progress_ctx, &now);
}

/* Tells the same, and stops the load when it is not to go on. */
static void ask_progress(struct load *l, uint64_t start_ns)
{
	struct wload_error err = {0};

	if (tell_progress(l, start_ns))
		return;
	(void)wload_fail(&err, ECANCELED, "the load was stopped");
	run_fail(&l->run, -ECANCELED, &err);
}

/* Runs the threads until all ended. */
static int run_threads(struct load *l, uint64_t begin, struct wload_error *err)
{
	start(l);
	do
		ask_progress(l, begin);
	while (!run_wait(&l->run, run_now_ns() + PROGRESS_NS));
	for (unsigned int i = 0; i < l->readers_started; i++)
		pthread_join(l->readers[i], NULL);
	if (l->finisher_started)
		pthread_join(l->finisher, NULL);
	pinned_drop(&l->result->pinned);
	if (l->result->device->ops->trim)
		l->result->device->ops->trim(l->result->device);
	ask_progress(l, begin);
	if (l->run.result < 0) {
		if (err)
			*err = l->run.error;
		return l->run.result;
	}
	return 0;
}

static int check_shards(const struct load *l, struct wload_error *err)
{
	for (uint32_t s = 0; s < wload_checkpoint_shard_count(l->source.ckpt); s++) {
		int r = wload_checkpoint_check(l->source.ckpt, s, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* All arrived: what was written out is made good, and what is due still is consumed. In this order,
 * for the one can fail and the other can't be undone. */
static int complete(struct load *l, struct wload_error *err)
{
	int r = check_shards(l, err);

	if (r == 0 && l->out)
		r = out_commit(l->out, err);
	if (r == 0 && l->run.consume)
		r = consume_unused(l->run.consume, run_now_ns(), err);
	return r;
}

/* From the first byte asked for to the last one consumed. */
static int run_load(struct load *l, struct wload_error *err)
{
	uint64_t begin = run_now_ns();
	int r = run_threads(l, begin, err);

	if (r == 0)
		r = complete(l, err);
	if (r < 0)
		return r;
	l->result->report.seconds = (double)(run_now_ns() - begin) / 1e9;
	(void)tell_progress(l, begin);
	return 0;
}

static void fill_report(struct load *l)
{
	struct wload_report *report = &l->result->report;
	uint32_t tensors = wload_inventory_count(l->run.inv);

	report->mount = l->source.mount != NULL;
	report->claims = l->source.of_rank && l->run.consume;
	report->parameters = wload_plan_count(l->plan);
	report->checkpoint_bytes = wload_inventory_bytes(l->run.inv);
	report->unused_tensors = l->result->unused_count;
	report->tensors = tensors - l->result->unused_count;
	report->bytes_read = atomic_load(&l->run.bytes_read);
	report->bytes_direct = atomic_load(&l->run.bytes_direct);
	report->bytes_uploaded = atomic_load(&l->run.bytes_placed);
	report->bytes_verified = atomic_load(&l->run.bytes_verified);
	report->verify_every = verified(l->options);
	report->bytes_per_second =
		report->seconds > 0 ? (double)report->bytes_read / report->seconds : 0;
	report->consumed_tensors = atomic_load(&l->run.consumed_tensors);
	report->consumed_bytes = atomic_load(&l->run.consumed_bytes);
	report->peak_host_bytes = memory_stop(TAKE_PTR(l->memory));
	report->cgroup_peak_bytes = host_memory_cgroup_peak();
}

/* One rank of several leaves the mount as it is, although it was not told to. */
static int note_kept(struct load *l, struct wload_error *err)
{
	if (!l->source.mount || l->options->keep || !leaves_to_others(l))
		return 0;
	return result_note(l->result, "nothing is consumed: the other ranks need the tensors still",
			   err);
}

/* What the threads needed goes before what the caller gets is made: only one of the two is held. */
static void drop_run(struct load *l)
{
	run_destroy(&l->run);
	l->run_open = false;
	consume_close(&l->consume);
	reads_free(&l->reads);
}

static int load_all(struct load *l, const char *path, struct wload_error *err)
{
	int r = prepare(l, path, err);

	if (r == 0)
		r = run_load(l, err);
	if (r < 0)
		return r;
	drop_run(l);
	if (!l->options->module_done)
		r = result_fill(l->result, wload_checkpoint_inventory(l->source.ckpt), l->plan,
				err);
	if (r == 0)
		r = result_warn(l->result, l->source.ckpt, err);
	if (r == 0)
		r = note_kept(l, err);
	if (r == 0)
		fill_report(l);
	return r;
}

int wload_load(const char *path, const struct wload_load_options *options,
	       struct wload_load **ret_load, struct wload_error *err)
{
	static const struct wload_load_options defaults = WLOAD_LOAD_OPTIONS_DEFAULT;
	struct load l CLEANUP(load_close) = {.options = options ? options : &defaults,
					     .result = result_new()};
	struct wload_error own = {0};
	int r;

	if (!l.result)
		return wload_fail(err, ENOMEM, "no memory for a load");
	r = load_all(&l, path, err ? err : &own);
	if (r < 0)
		return r;
	l.result->memory.plan = NULL; /* all that needed it is released */
	*ret_load = TAKE_PTR(l.result);
	return 0;
}
