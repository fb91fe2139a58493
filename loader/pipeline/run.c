/* SPDX-License-Identifier: Apache-2.0 */
/* The shared state's moves. Nothing here reads, copies, or consumes: the lock is held for a few
 * lines at a time. */

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "loader/base/cleanup.h"
#include "loader/pipeline/run.h"

uint64_t run_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct timespec at_ns(uint64_t ns)
{
	return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

static void monotonic_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* Parameters without a byte to wait for are complete from the start. */
static void count_params(struct run *run)
{
	for (uint32_t p = 0; p < wload_plan_count(run->plan); p++) {
		const struct wload_param *param = wload_plan_param(run->plan, p);
		uint64_t bytes = param->step_count ? param->source_bytes : param->bytes;

		atomic_init(&run->left[p], bytes);
		if (bytes == 0)
			run->ready[run->ready_count++] = p;
	}
}

int run_init(struct run *run, struct wload_error *err)
{
	size_t n = wload_plan_count(run->plan);

	run->walk = reads_walk(run->reads);
	pthread_mutex_init(&run->walk_lock, NULL);
	pthread_mutex_init(&run->make_lock, NULL);
	pthread_mutex_init(&run->lock, NULL);
	monotonic_cond(&run->work);
	monotonic_cond(&run->room);
	monotonic_cond(&run->over);
	run->left = calloc(n ? n : 1, sizeof(*run->left));
	run->ready = calloc(n ? n : 1, sizeof(*run->ready));
	if (!run->left || !run->ready)
		return wload_fail(err, ENOMEM, "no memory for %zu parameters", n);
	count_params(run);
	return 0;
}

void run_destroy(struct run *run)
{
	pthread_mutex_destroy(&run->walk_lock);
	pthread_mutex_destroy(&run->make_lock);
	pthread_mutex_destroy(&run->lock);
	pthread_cond_destroy(&run->work);
	pthread_cond_destroy(&run->room);
	pthread_cond_destroy(&run->over);
	free(run->left);
	free(run->ready);
	run->left = NULL;
	run->ready = NULL;
}

void run_fail(struct run *run, int code, const struct wload_error *err)
{
	LOCK_SCOPE(&run->lock);

	if (run->result == 0) {
		run->result = code;
		run->error = *err;
	}
	atomic_store(&run->stopped, true);
	pthread_cond_broadcast(&run->work);
	pthread_cond_broadcast(&run->room);
}

static void wait_for_room(struct run *run)
{
	LOCK_SCOPE(&run->lock);

	while (run->backlog_bytes + run->arrived_bytes > run->backlog_max &&
	       !atomic_load(&run->stopped))
		pthread_cond_wait(&run->room, &run->lock);
}

void run_make_begin(struct run *run, uint64_t bytes)
{
	LOCK_SCOPE(&run->lock);

	run->arrived_bytes += bytes;
}

void run_make_wait(struct run *run)
{
	LOCK_SCOPE(&run->lock);

	while (run->backlog_bytes > run->backlog_max && !atomic_load(&run->stopped))
		pthread_cond_wait(&run->room, &run->lock);
}

void run_make_end(struct run *run, uint64_t bytes)
{
	LOCK_SCOPE(&run->lock);

	run->arrived_bytes -= bytes;
	pthread_cond_broadcast(&run->room);
}

int run_next(struct run *run, struct reads_batch *batch, struct wload_error *err)
{
	int r;

	wait_for_room(run);
	if (atomic_load(&run->stopped))
		return 0;
	pthread_mutex_lock(&run->walk_lock);
	r = reads_next(&run->walk, batch);
	pthread_mutex_unlock(&run->walk_lock);
	return r < 0 ? wload_fail(err, -r, "no memory for %zu placements", batch->place_count) : r;
}

static void param_complete(struct run *run, uint32_t param)
{
	LOCK_SCOPE(&run->lock);

	run->ready[run->ready_count++] = param;
	run->backlog_bytes += wload_plan_param(run->plan, param)->bytes;
	pthread_cond_signal(&run->work);
}

int run_arrived(struct run *run, struct device_queue *queue, const struct reads_batch *batch,
		struct wload_error *err)
{
	for (size_t i = 0; i < batch->place_count; i++) {
		const struct reads_place *place = &batch->places[i];
		int r = 0;

		param_memory_arrived(run->memory, place->param, place->dst_offset, place->bytes);
		atomic_fetch_add_explicit(&run->bytes_placed, place->bytes, memory_order_relaxed);
		/* acq_rel: whoever sees 0 also sees what all the others placed */
		if (atomic_fetch_sub_explicit(&run->left[place->param], place->bytes,
					      memory_order_acq_rel) != place->bytes)
			continue;
		if (wload_plan_param(run->plan, place->param)->step_count)
			r = make_param(run, queue, place->param, err);
		if (r < 0)
			return r;
		param_complete(run, place->param);
	}
	return 0;
}

void run_reader_done(struct run *run)
{
	LOCK_SCOPE(&run->lock);

	run->readers_left--;
	pthread_cond_broadcast(&run->work);
}

enum run_event run_take(struct run *run, uint64_t deadline_ns, uint32_t *ret_param)
{
	struct timespec deadline = at_ns(deadline_ns);
	LOCK_SCOPE(&run->lock);

	for (;;) {
		if (atomic_load(&run->stopped))
			return RUN_STOPPED;
		if (run->ready_taken < run->ready_count) {
			*ret_param = run->ready[run->ready_taken++];
			return RUN_PARAM;
		}
		if (run->readers_left == 0)
			return RUN_END;
		if (!deadline_ns)
			pthread_cond_wait(&run->work, &run->lock);
		else if (pthread_cond_timedwait(&run->work, &run->lock, &deadline) == ETIMEDOUT)
			return RUN_TIMEOUT;
	}
}

void run_finish_param(struct run *run, uint32_t param)
{
	LOCK_SCOPE(&run->lock);

	run->backlog_bytes -= wload_plan_param(run->plan, param)->bytes;
	if (run->backlog_bytes <= run->backlog_max)
		pthread_cond_broadcast(&run->room);
}

void run_finisher_done(struct run *run)
{
	LOCK_SCOPE(&run->lock);

	run->finished = true;
	pthread_cond_broadcast(&run->over);
}

bool run_wait(struct run *run, uint64_t deadline_ns)
{
	struct timespec deadline = at_ns(deadline_ns);
	LOCK_SCOPE(&run->lock);

	while (!run->finished)
		if (pthread_cond_timedwait(&run->over, &run->lock, &deadline) == ETIMEDOUT)
			break;
	return run->finished;
}
