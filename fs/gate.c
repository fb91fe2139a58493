/* SPDX-License-Identifier: Apache-2.0 */
/* A list of READs in order of arrival, and one thread (gate.h). Admission is asked without the
 * lock: the READ is out of the list by then, and goes back to its head when there is no room. */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "fs/clock.h"
#include "fs/gate.h"
#include "fs/ops.h"
#include "loader/base/cleanup.h"

#define PARK_NS UINT64_C(50000000)

struct parked {
	struct parked *next;
	fuse_req_t req;
	struct gate_range range;
	uint64_t due_at; /* answered then at the latest, ns; 0: now */
};

struct gate {
	struct wloadfs *fs;
	gate_admit admit;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t wake;
	struct parked *first, **last;
	struct parked *out; /* being asked for, or answered */
	uint64_t parked;    /* so far */
	bool room, stop;
};

static struct parked *take(struct gate *gate, struct parked **at)
{
	struct parked *p = *at;

	*at = p->next;
	if (!*at)
		gate->last = at;
	return p;
}

static void put_back(struct gate *gate, struct parked *p)
{
	p->next = gate->first;
	if (!gate->first)
		gate->last = &p->next;
	gate->first = p;
}

/* The first READ that must be answered, or NULL. */
static struct parked *take_due(struct gate *gate)
{
	uint64_t now = clock_ns();

	for (struct parked **at = &gate->first; *at; at = &(*at)->next)
		if (gate->stop || (*at)->due_at <= now)
			return take(gate, at);
	return NULL;
}

/* Waits for something to do. Returns a READ, or NULL when all is over. Lock held. */
static struct parked *next(struct gate *gate, bool *ret_must)
{
	while (!gate->stop || gate->first) {
		struct parked *p = take_due(gate);
		struct timespec until;

		*ret_must = p != NULL;
		if (p)
			return p;
		if (gate->first && gate->room) {
			gate->room = false;
			return take(gate, &gate->first);
		}
		if (gate->first) {
			until = clock_timespec(gate->first->due_at);
			(void)pthread_cond_timedwait(&gate->wake, &gate->lock, &until);
		} else {
			(void)pthread_cond_wait(&gate->wake, &gate->lock);
		}
	}
	return NULL;
}

static void *gate_main(void *arg)
{
	struct gate *gate = arg;
	struct parked *p;
	bool must;
	LOCK_SCOPE(&gate->lock);

	while ((p = next(gate, &must))) {
		int r;

		gate->out = p;
		pthread_mutex_unlock(&gate->lock);
		r = gate->admit(gate->fs, &p->range, must);
		if (r == 0)
			ops_answer_read(gate->fs, p->req, node_from_id(p->range.node), p->range.lo,
					(size_t)(p->range.hi - p->range.lo));
		else if (r != -EAGAIN)
			fuse_reply_err(p->req, -r);
		pthread_mutex_lock(&gate->lock);
		gate->out = NULL;
		if (r == -EAGAIN) {
			put_back(gate, p);
		} else {
			gate->room = true; /* for the next one perhaps, too */
			free(p);
		}
	}
	return NULL;
}

int gate_start(struct wloadfs *fs, gate_admit admit, struct gate **ret)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	pthread_condattr_t monotonic;
	sigset_t all, old;
	int r;

	if (!gate)
		return -ENOMEM;
	*gate = (struct gate){.fs = fs, .admit = admit, .last = &gate->first};
	pthread_mutex_init(&gate->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&gate->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* Signals are for the main thread, which waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	r = pthread_create(&gate->thread, NULL, gate_main, gate);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		free(gate);
		return -r;
	}
	*ret = gate;
	return 0;
}

void gate_stop(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->stop = true;
	pthread_cond_signal(&gate->wake);
	pthread_mutex_unlock(&gate->lock);
	pthread_join(gate->thread, NULL);
	pthread_cond_destroy(&gate->wake);
	pthread_mutex_destroy(&gate->lock);
	free(gate);
}

int gate_park(struct gate *gate, fuse_req_t req, struct gate_range range)
{
	struct parked *p = malloc(sizeof(*p));
	LOCK_SCOPE(&gate->lock);

	if (!p)
		return -ENOMEM;
	*p = (struct parked){.req = req, .range = range, .due_at = clock_ns() + PARK_NS};
	*gate->last = p;
	gate->last = &p->next;
	gate->parked++;
	/* Room that came before this was in the list woke nobody. */
	gate->room = true;
	pthread_cond_signal(&gate->wake);
	return 0;
}

void gate_room(struct gate *gate)
{
	LOCK_SCOPE(&gate->lock);

	gate->room = true;
	if (gate->first)
		pthread_cond_signal(&gate->wake);
}

static void release(struct parked *p, const struct gate_range *range)
{
	if (p->range.node == range->node && p->range.lo < range->hi && p->range.hi > range->lo)
		p->due_at = 0;
}

void gate_release(struct gate *gate, struct gate_range range)
{
	LOCK_SCOPE(&gate->lock);

	for (struct parked *p = gate->first; p; p = p->next)
		release(p, &range);
	if (gate->out)
		release(gate->out, &range);
	if (gate->first)
		pthread_cond_signal(&gate->wake);
}

uint64_t gate_parked(struct gate *gate)
{
	LOCK_SCOPE(&gate->lock);

	return gate->parked;
}
