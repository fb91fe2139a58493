/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that reads ahead in plan order (prefetch.h). It stops at the first piece for which
 * there is no credit, and goes on there when some is given back. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#include "fs/credit.h"
#include "fs/prefetch.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"
#include "loader/base/io.h"
#include "wloadfs/plan.h"

#define NO_TENSOR UINT32_MAX

struct prefetch {
	struct wloadfs *fs;
	pthread_t thread;
	uint32_t *order; /* tensors */
	uint32_t count;
	char *buf; /* the thread's */

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake, done;
	struct credit credit;
	uint32_t next;	  /* in order */
	uint64_t at;	  /* in that tensor, bytes */
	uint32_t reading; /* this tensor, without the lock; or NO_TENSOR */
	uint64_t read_bytes;
	bool stop;
};

/* ---- the order ---- */

/* Appends the sources of every parameter, each tensor once. */
static void add_plan(struct prefetch *p, const struct wload_plan *plan, bool *listed)
{
	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *param = wload_plan_param(plan, i);

		for (uint32_t s = 0; s < param->source_count; s++) {
			uint32_t tensor = param->sources[s].tensor;

			if (listed[tensor])
				continue;
			listed[tensor] = true;
			p->order[p->count++] = tensor;
		}
	}
}

/* The plan's order; without one, the disk's. */
static int make_order(struct prefetch *p)
{
	const struct wloadfs *fs = p->fs;
	uint32_t count = wload_inventory_count(fs->inv);
	CLEANUP_FREE bool *listed = calloc((size_t)count + 1, sizeof(*listed));
	struct wload_plan_options options = {.rules = fs->plan.rules, .layout = fs->plan.layout};
	struct wload_plan *plan = NULL;

	p->order = calloc((size_t)count + 1, sizeof(*p->order));
	if (!listed || !p->order)
		return -ENOMEM;
	if (wload_plan_build(fs->inv, wload_checkpoint_config(fs->ckpt), &options, &plan, NULL) ==
	    0) {
		add_plan(p, plan, listed);
		wload_plan_free(plan);
		return 0;
	}
	while (p->count < count) {
		p->order[p->count] = p->count;
		p->count++;
	}
	return 0;
}

/* ---- the thread ---- */

/* The next piece to read, as bytes of a shard. Lock held. */
static enum credit_answer next_piece(struct prefetch *p, struct wload_tensor *ret,
				     uint64_t *ret_bytes)
{
	for (; p->next < p->count; p->next++, p->at = 0) {
		uint32_t tensor = p->order[p->next];
		enum credit_answer answer;

		*ret = wload_inventory_tensor(p->fs->inv, tensor);
		if (fs_is_consumed(p->fs, tensor) || !p->fs->shard_evictable[ret->shard])
			continue;
		answer = credit_take(&p->credit, tensor, &p->at, ret_bytes);
		if (answer != CREDIT_NONE)
			return answer;
	}
	return CREDIT_NONE;
}

static void *prefetch_main(void *arg)
{
	struct prefetch *p = arg;
	LOCK_SCOPE(&p->lock);

	while (!p->stop) {
		struct wload_tensor tensor;
		uint64_t bytes = 0, offset;
		ssize_t n;

		if (next_piece(p, &tensor, &bytes) != CREDIT_PIECE) {
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		p->reading = p->order[p->next];
		offset = tensor.offset + p->at;
		p->at += bytes;
		pthread_mutex_unlock(&p->lock);
		/* The shard's descriptor is FADV_RANDOM: single pages, nothing beyond. */
		n = io_read_at(wload_checkpoint_shard(p->fs->ckpt, tensor.shard)->fd, p->buf,
			       (size_t)bytes, offset);
		pthread_mutex_lock(&p->lock);
		p->reading = NO_TENSOR;
		p->read_bytes += n > 0 ? (uint64_t)n : 0;
		pthread_cond_broadcast(&p->done);
	}
	return NULL;
}

/* ---- what gives credit back ---- */

void prefetch_consumed(struct wloadfs *fs, uint32_t first, uint32_t end)
{
	struct prefetch *p = fs->prefetch;
	bool any = false;

	if (!p)
		return;
	LOCK_SCOPE(&p->lock);

	while (p->reading >= first && p->reading < end)
		pthread_cond_wait(&p->done, &p->lock);
	for (uint32_t tensor = first; tensor < end; tensor++)
		any |= credit_consumed(&p->credit, tensor);
	if (any)
		pthread_cond_signal(&p->wake);
}

void prefetch_was_read(struct wloadfs *fs, uint32_t shard, uint64_t offset, uint64_t len)
{
	struct prefetch *p = fs->prefetch;
	uint32_t end = wload_checkpoint_shard(fs->ckpt, shard)->end, tensor;
	bool any = false;

	if (!p)
		return;
	tensor = view_tensor_behind(fs, shard, offset);
	LOCK_SCOPE(&p->lock);

	for (; tensor < end; tensor++) {
		struct wload_tensor t = wload_inventory_tensor(fs->inv, tensor);

		if (t.offset >= offset + len)
			break;
		any |= credit_read(&p->credit, tensor, offset > t.offset ? offset - t.offset : 0,
				   offset + len - t.offset);
	}
	if (any)
		pthread_cond_signal(&p->wake);
}

void prefetch_restored(struct wloadfs *fs)
{
	struct prefetch *p = fs->prefetch;

	if (!p)
		return;
	LOCK_SCOPE(&p->lock);

	credit_restored(&p->credit);
	p->next = 0;
	p->at = 0;
	pthread_cond_signal(&p->wake);
}

/* ---- beginning and end ---- */

static void free_prefetch(struct prefetch *p)
{
	credit_free(&p->credit);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
	free(p->order);
	free(p->buf);
	free(p);
}

static int start_thread(struct prefetch *p)
{
	sigset_t all, old;
	int r;

	/* Signals are for the main thread, which waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&p->thread, NULL, prefetch_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int prefetch_start(struct wloadfs *fs)
{
	struct prefetch *p;
	int r;

	if (!fs->asked.prefetch_bytes)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->fs = fs;
	p->reading = NO_TENSOR;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->done, NULL);
	p->buf = malloc(CREDIT_PIECE_BYTES);
	r = p->buf ? credit_init(&p->credit, fs->inv, fs->asked.prefetch_bytes) : -ENOMEM;
	if (r == 0)
		r = make_order(p);
	if (r == 0)
		r = start_thread(p);
	if (r < 0)
		free_prefetch(p);
	else
		fs->prefetch = p;
	return r;
}

void prefetch_stop(struct wloadfs *fs)
{
	struct prefetch *p = fs->prefetch;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	fs->prefetch = NULL;
	free_prefetch(p);
}

bool prefetch_numbers(struct wloadfs *fs, uint64_t *ret_limit_bytes, uint64_t *ret_ahead_bytes,
		      uint64_t *ret_read_bytes)
{
	struct prefetch *p = fs->prefetch;

	if (!p)
		return false;
	LOCK_SCOPE(&p->lock);

	*ret_limit_bytes = p->credit.limit_bytes;
	*ret_ahead_bytes = p->credit.ahead_bytes;
	*ret_read_bytes = p->read_bytes;
	return true;
}

void prefetch_json(struct wloadfs *fs, struct text *text)
{
	struct prefetch *p = fs->prefetch;

	if (!p) {
		text_printf(text, "null");
		return;
	}
	LOCK_SCOPE(&p->lock);

	text_printf(text,
		    "{\"limit_bytes\": %" PRIu64 ", \"ahead_bytes\": %" PRIu64
		    ", \"read_bytes\": %" PRIu64 "}",
		    p->credit.limit_bytes, p->credit.ahead_bytes, p->read_bytes);
}
