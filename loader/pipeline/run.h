/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_RUN_H
#define WLOAD_RUN_H

/* What the threads of one load share.
 *
 *   readers (N)                                            finisher (1)
 *   take the next batch ---> read, copy to the device      take a complete parameter
 *       ^                    a slot's copies are over:     compare it, write it out
 *       |                    its bytes arrived  ---------> consume sources nobody needs any more
 *       +---- wait while too much is unfinished <--------- free it (release)
 *                                                          (the last ones: load.c, at the end)
 *
 * A parameter is complete when as many bytes arrived as its sources have. Whoever counts the last
 * one runs its steps, if it has any (make.c), and puts it on the finisher's list. The first failure
 * stops everyone; later ones are not heard. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "loader/device/device.h"
#include "loader/pipeline/param_memory.h"
#include "loader/pipeline/reads.h"
#include "loader/pipeline/slots.h"
#include "wloadfs/checkpoint.h"

/* Readers wait while complete parameters of more bytes than this await the finisher: what isn't
 * consumed stays in the page cache, what isn't released stays on the device. */
#define RUN_BACKLOG_BYTES ((uint64_t)64 << 20)

/* The same where it is host memory that is to be freed: most of what the load would take then. */
#define RUN_BACKLOG_HOST_BYTES ((uint64_t)8 << 20)

struct module_calls;
struct verify;
struct out;
struct consume;
struct fetch;

struct run {
	/* not changed while threads run */
	const struct wload_checkpoint *ckpt;
	const struct wload_inventory *inv;
	const struct wload_plan *plan;
	struct device *device;
	const struct reads *reads;
	struct fetch *fetch; /* how shards are read; shared by the readers */
	struct param_memory *memory;
	struct slots_shape shape;
	uint64_t backlog_max;		   /* bytes; RUN_BACKLOG_BYTES */
	uint8_t *staging;		   /* of all readers, one behind the other */
	struct verify *verify;		   /* NULL: compare nothing; the finisher's */
	struct out *out;		   /* NULL: write nothing; the finisher's */
	struct consume *consume;	   /* NULL: consume nothing; the finisher's */
	struct module_calls *module_calls; /* NULL: nobody is told of modules; the finisher's */

	_Atomic uint64_t *left;			   /* bytes that each parameter still waits for */
	_Atomic uint64_t bytes_read, bytes_direct; /* direct: of those, past the page cache */
	_Atomic uint64_t bytes_placed, bytes_verified;
	_Atomic uint64_t consumed_bytes, consumed_tensors;
	atomic_bool stopped;

	atomic_uint readers_begun;
	pthread_mutex_t walk_lock;
	struct reads_walk walk; /* under walk_lock */

	pthread_mutex_t make_lock; /* with release: held while steps are run */

	pthread_mutex_t lock;
	pthread_cond_t work; /* the list of complete parameters grew, or readers are done */
	pthread_cond_t room; /* the backlog shrank */
	pthread_cond_t over; /* the finisher is done */

	/* under lock */
	uint32_t *ready; /* complete parameters, in the order they became so */
	size_t ready_taken, ready_count;
	uint64_t backlog_bytes;
	uint64_t arrived_bytes; /* staged, of parameters whose steps are still to be run */
	unsigned int readers_left;
	bool finished;
	int result; /* the first failure */
	struct wload_error error;
};

/* Gets the shared state ready; the fields above the line are the caller's to fill before.
 *
 * Returns 0 or -ENOMEM; run_destroy() either way. */
int run_init(struct run *run, struct wload_error *err);
void run_destroy(struct run *run);

/* lock taken inside, each of these */

/* Stops the load; the first caller's error is the load's. */
void run_fail(struct run *run, int code, const struct wload_error *err);

/* Readers: the next batch to read, after waiting for room.
 *
 * Returns 1, 0 when there is none or on a stop, or -ENOMEM. */
int run_next(struct run *run, struct reads_batch *batch, struct wload_error *err);

/* Readers: all bytes of a batch are on the device. Runs the steps of parameters that are complete
 * now, in the reader's queue.
 *
 * Returns 0, or what the device or the steps said. */
int run_arrived(struct run *run, struct device_queue *queue, const struct reads_batch *batch,
		struct wload_error *err);

/* All sources of a parameter that has steps have arrived, in bytes: readers take that into account
 * until it is made. */
void run_make_begin(struct run *run, uint64_t bytes);
void run_make_end(struct run *run, uint64_t bytes);

/* Waits until the finisher has little left. */
void run_make_wait(struct run *run);

/* Readers: this one ends. */
void run_reader_done(struct run *run);

enum run_event { RUN_PARAM, RUN_TIMEOUT, RUN_END, RUN_STOPPED };

/* The finisher: waits for a complete parameter.
 *
 * deadline_ns  on the monotonic clock; 0: none
 *
 * Returns RUN_END when readers are done and every parameter was taken. */
enum run_event run_take(struct run *run, uint64_t deadline_ns, uint32_t *ret_param);

/* The finisher: done with what it took. */
void run_finish_param(struct run *run, uint32_t param);

/* The finisher ends. */
void run_finisher_done(struct run *run);

/* The caller of the load: waits until the finisher is done, at most until deadline_ns.
 *
 * Returns true when it is. */
bool run_wait(struct run *run, uint64_t deadline_ns);

uint64_t run_now_ns(void);

/* Runs a parameter's steps (make.c). Returns as run_arrived() does. */
int make_param(struct run *run, struct device_queue *queue, uint32_t param,
	       struct wload_error *err);

/* The threads' work; each returns after it told the run. */
void *reader_thread(void *run);
void *finisher_thread(void *run);

#endif
