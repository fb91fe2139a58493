/* SPDX-License-Identifier: Apache-2.0 */
/* Clears the kernel's caches of consumed tensors (evict.h), and the evictor thread. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "fs/ahead.h"
#include "fs/budget.h"
#include "fs/clock.h"
#include "fs/evict.h"
#include "fs/fused_mark.h"
#include "fs/node.h"
#include "fs/peak.h"
#include "fs/prefetch.h"
#include "fs/residency.h"
#include "loader/base/cleanup.h"

#define RECHECK_NS UINT64_C(1000000000)

struct evictor {
	struct wloadfs *fs;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct evictor_job *first, **last; /* under lock */
	bool stop;			   /* under lock */
	uint64_t recheck_at;		   /* ns, the thread's own; 0: nothing is held */
};

static struct shard_extent extent_of(const struct wloadfs *fs, uint32_t shard)
{
	const struct wload_shard *s = wload_checkpoint_shard(fs->ckpt, shard);

	return (struct shard_extent){s->first, s->end, s->bytes};
}

/* What may be left at most where nobody may look: folios that reach over a border to what lives. */
static uint64_t most_left(const struct wload_shard *shard, struct page_range dead)
{
	uint64_t borders = (dead.lo > 0) + (dead.hi < shard->bytes), len = dead.hi - dead.lo;

	return borders * FOLIO_BYTES_MAX < len ? borders * FOLIO_BYTES_MAX : len;
}

/* Drops a range of a shard and returns what is left of it. */
static uint64_t drop(struct wloadfs *fs, uint32_t index, struct page_range dead)
{
	const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, index);
	uint64_t left = 0;

	if (dead.lo >= dead.hi)
		return 0;
	if (!fs->shard_evictable[index]) {
		int r = residency_bytes(&fs->features, shard->fd, dead.lo, dead.hi, &left);

		return r < 0 ? dead.hi - dead.lo : left;
	}
	peak_sample(fs);
	ahead_pause(fs);
	atomic_fetch_add(&fs->evicted_bytes,
			 residency_drop(&fs->features, shard->fd, dead.lo, dead.hi, &left));
	ahead_resume(fs);
	return left == RESIDENCY_UNKNOWN ? most_left(shard, dead) : left;
}

/* Something of a shard could not be dropped: at least so much, until the re-check counts exactly.
 */
static void note_held(struct wloadfs *fs, uint32_t shard, uint64_t left)
{
	uint64_t before = 0;

	atomic_compare_exchange_strong(&fs->held_bytes[shard], &before, left);
	evict_later(fs, shard);
}

void evict_later(struct wloadfs *fs, uint32_t shard)
{
	if (!atomic_exchange(&fs->recheck[shard], true))
		evictor_wake(fs);
}

/* The pages that a consumed tensor and its consumed neighbours leave to nobody. */
static struct page_range dead_around(struct wloadfs *fs, uint32_t tensor)
{
	struct wload_tensor t = wload_inventory_tensor(fs->inv, tensor);
	struct shard_extent extent = extent_of(fs, t.shard);
	struct page_range dead = {0, 0};
	LOCK_SCOPE(&fs->lock);

	if (fs_is_consumed(fs, tensor)) {
		struct consumed_run run =
			consumed_run_around(&fs->claims.consumed, tensor, extent.first, extent.end);

		dead = consumed_dead_pages(&fs->claims.consumed, run, &extent, fs->page_bytes);
		dead = consumed_near(dead, &t, FOLIO_BYTES_MAX, fs->page_bytes);
	}
	if (dead.lo < dead.hi)
		atomic_store(&fs->served.dead[t.shard], true);
	return dead;
}

void evict_tensor(struct wloadfs *fs, uint32_t tensor)
{
	uint32_t shard = wload_inventory_tensor(fs->inv, tensor).shard;
	uint64_t left;

	if (fs_is_consumed(fs, tensor))
		prefetch_consumed(fs, tensor, tensor + 1);
	left = drop(fs, shard, dead_around(fs, tensor));
	if (left)
		note_held(fs, shard, left);
}

void evict_served(struct wloadfs *fs, uint32_t tensor)
{
	uint32_t shard = wload_inventory_tensor(fs->inv, tensor).shard;
	struct page_range dead;

	if (!served_any(fs, shard))
		return;
	dead = dead_around(fs, tensor);
	served_invalidate(fs, shard, dead.lo, dead.hi);
}

void evict_shard(struct wloadfs *fs, uint32_t shard)
{
	struct shard_extent extent = extent_of(fs, shard);
	uint64_t left = 0;

	atomic_store(&fs->recheck[shard], false);
	for (uint32_t from = extent.first; from < extent.end;) {
		struct consumed_run run;
		struct page_range dead;
		bool more;

		pthread_mutex_lock(&fs->lock);
		more = consumed_next_run(&fs->claims.consumed, from, extent.end, &run);
		if (more)
			dead = consumed_dead_pages(&fs->claims.consumed, run, &extent,
						   fs->page_bytes);
		pthread_mutex_unlock(&fs->lock);
		if (!more)
			break;
		if (dead.lo < dead.hi)
			atomic_store(&fs->served.dead[shard], true);
		prefetch_consumed(fs, run.first, run.end);
		served_invalidate(fs, shard, dead.lo, dead.hi);
		left += drop(fs, shard, dead);
		from = run.end;
	}
	atomic_store(&fs->held_bytes[shard], left);
	/* Where nothing can be evicted there is nothing to try again. */
	if (left && fs->shard_evictable[shard])
		atomic_store(&fs->recheck[shard], true);
}

/* Invalidates one inode: its attributes (offset < 0), or its pages too. The kernel says ENOENT for
 * an inode that it does not have. */
static void invalidate(struct wloadfs *fs, struct node node, off_t offset)
{
	(void)fuse_lowlevel_notify_inval_inode(fs->session, node_id(node), offset, 0);
}

/* The trees that go with a claimant's: its own, or with the root's all. */
static uint32_t trees_end(const struct wloadfs *fs, uint32_t who)
{
	return who == CLAIMS_ROOT ? fs_claimants(fs) : who + 1;
}

static uint8_t seen_in(const struct wloadfs *fs, uint32_t tree, uint32_t tensor)
{
	return atomic_load(&fs->known[tree].tensor[tensor].seen);
}

uint8_t evict_seen(const struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	uint8_t seen = 0;

	for (uint32_t tree = who; tree < trees_end(fs, who); tree++)
		seen |= seen_in(fs, tree, tensor) | fused_seen(fs, tree, tensor);
	return seen;
}

/* Invalidates the attributes of a tensor's inodes in one tree. */
static void forget_in(struct wloadfs *fs, uint32_t tree, uint32_t tensor)
{
	uint8_t seen = seen_in(fs, tree, tensor);
	struct node node = {.kind = NODE_TENSOR, .index = tensor, .who = (uint16_t)tree};

	if (seen & SEEN_TENSOR)
		invalidate(fs, node, -1);
	node.kind = NODE_NPY;
	if (seen & SEEN_NPY)
		invalidate(fs, node, -1);
	fused_forget(fs, tree, tensor);
}

void evict_attributes(struct wloadfs *fs, uint32_t tensor)
{
	for (uint32_t tree = 0; tree < fs_claimants(fs); tree++)
		forget_in(fs, tree, tensor);
}

/* Drops all pages of one of a tensor's inodes. */
static void drop_pages(struct wloadfs *fs, struct node node)
{
	budget_dropping(fs, node, 0, UINT64_MAX);
	invalidate(fs, node, 0);
	budget_dropped(fs);
}

static void drop_in(struct wloadfs *fs, uint32_t tree, uint32_t tensor)
{
	uint8_t seen = seen_in(fs, tree, tensor);
	struct node node = {.kind = NODE_TENSOR, .index = tensor, .who = (uint16_t)tree};

	if (seen & SEEN_TENSOR)
		drop_pages(fs, node);
	node.kind = NODE_NPY;
	if (seen & SEEN_NPY)
		drop_pages(fs, node);
}

void evict_mapped(struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	for (uint32_t tree = who; tree < trees_end(fs, who); tree++) {
		if (seen_in(fs, tree, tensor) & SEEN_OPEN && !atomic_load(&fs->stopping))
			drop_in(fs, tree, tensor);
		fused_drop(fs, tree, tensor);
	}
}

/* ---- the thread ---- */

static bool anything_held(const struct wloadfs *fs)
{
	if (fused_is_reread(fs))
		return true;
	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++)
		if (atomic_load(&fs->recheck[i]))
			return true;
	return false;
}

static void look_again(struct wloadfs *fs)
{
	peak_look(fs);
	fused_look_again(fs);
	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++)
		if (atomic_load(&fs->recheck[i]))
			evict_shard(fs, i);
}

/* When there is something to do without a job, ns; UINT64_MAX: never. */
static uint64_t look_at(struct evictor *e)
{
	uint64_t at = budget_look_at(e->fs);

	if (!anything_held(e->fs) && !peak_is_watched(e->fs))
		e->recheck_at = 0;
	else if (!e->recheck_at)
		e->recheck_at = clock_ns() + RECHECK_NS;
	return e->recheck_at && e->recheck_at < at ? e->recheck_at : at;
}

/* Waits for a job, or returns NULL when there is something else to do. Sets *ret_stop once the
 * queue is empty and no more is coming. */
static struct evictor_job *next_job(struct evictor *e, bool *ret_stop)
{
	LOCK_SCOPE(&e->lock);
	struct evictor_job *job;
	struct timespec until;
	uint64_t at;

	while (!e->first && !e->stop && !budget_wants(e->fs) && (at = look_at(e)) > clock_ns()) {
		until = clock_timespec(at);
		if (at == UINT64_MAX)
			(void)pthread_cond_wait(&e->wake, &e->lock);
		else
			(void)pthread_cond_timedwait(&e->wake, &e->lock, &until);
	}
	job = e->first;
	if (job) {
		e->first = job->next;
		if (!e->first)
			e->last = &e->first;
	}
	*ret_stop = !job && e->stop;
	return job;
}

/* What is due by time. */
static void look(struct evictor *e)
{
	if (look_at(e) > clock_ns())
		return;
	if (e->recheck_at && e->recheck_at <= clock_ns()) {
		look_again(e->fs);
		e->recheck_at = 0;
	}
	budget_look(e->fs);
}

static void *evictor_main(void *arg)
{
	struct evictor *e = arg;
	struct evictor_job *job;
	bool stop = false;

	while (!stop) {
		job = next_job(e, &stop);
		if (job)
			job->run(e->fs, job);
		if (stop)
			break;
		budget_step(e->fs);
		look(e);
	}
	return NULL;
}

int evictor_start(struct wloadfs *fs)
{
	struct evictor *e = calloc(1, sizeof(*e));
	pthread_condattr_t monotonic;
	sigset_t all, old;
	int r;

	if (!e)
		return -ENOMEM;
	e->fs = fs;
	e->last = &e->first;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&e->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* It may ask for fs->evictor itself as soon as it runs. */
	fs->evictor = e;
	/* Signals are for the main thread, which waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&e->thread, NULL, evictor_main, e);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		evictor_free(fs);
		return -r;
	}
	return 0;
}

void evictor_push(struct wloadfs *fs, struct evictor_job *job)
{
	struct evictor *e = fs->evictor;
	bool stopped;

	pthread_mutex_lock(&e->lock);
	stopped = e->stop;
	if (!stopped) {
		job->next = NULL;
		*e->last = job;
		e->last = &job->next;
		pthread_cond_signal(&e->wake);
	}
	pthread_mutex_unlock(&e->lock);
	if (stopped)
		job->run(fs, job);
}

void evictor_wake(struct wloadfs *fs)
{
	LOCK_SCOPE(&fs->evictor->lock);

	pthread_cond_signal(&fs->evictor->wake);
}

void evictor_stop(struct wloadfs *fs)
{
	struct evictor *e = fs->evictor;

	pthread_mutex_lock(&e->lock);
	if (e->stop) {
		pthread_mutex_unlock(&e->lock);
		return;
	}
	/* From here on nothing waits for READs: workers do what is left themselves. */
	atomic_store(&fs->stopping, true);
	e->stop = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
}

void evictor_free(struct wloadfs *fs)
{
	struct evictor *e = fs->evictor;

	if (!e)
		return;
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	free(e);
	fs->evictor = NULL;
}
