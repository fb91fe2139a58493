/* SPDX-License-Identifier: Apache-2.0 */
/* Making a parameter: its steps are run, by the reader that placed the last of its bytes, while the
 * others read on. They read little: what has arrived and is not made holds memory twice, so that
 * it counts as what the finisher has not seen to. With release one is made at a time, when the
 * finisher is nearly done with those before: then there is never more than one such parameter. */

#include "loader/pipeline/run.h"

static int run_steps(struct run *run, struct device_queue *queue, uint32_t index,
		     struct wload_error *err)
{
	const struct wload_param *param = wload_plan_param(run->plan, index);
	void *staged, *base;
	int r = param_memory_get(run->memory, index, &staged, err);

	if (r == 0)
		r = param_memory_own(run->memory, index, &base, err);
	if (r == 0)
		r = run->device->ops->transform(queue, param, staged, base, err);
	param_memory_unstage(run->memory, index);
	return r;
}

int make_param(struct run *run, struct device_queue *queue, uint32_t index, struct wload_error *err)
{
	uint64_t bytes = wload_plan_param(run->plan, index)->staged_bytes;
	bool one = param_releases(run->memory->release);
	int r = 0;

	run_make_begin(run, bytes);
	if (one) {
		pthread_mutex_lock(&run->make_lock);
		run_make_wait(run);
	}
	if (!atomic_load(&run->stopped))
		r = run_steps(run, queue, index, err);
	run_make_end(run, bytes);
	if (one)
		pthread_mutex_unlock(&run->make_lock);
	return r;
}
