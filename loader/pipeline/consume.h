/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CONSUME_H
#define WLOAD_CONSUME_H

/* When a source may be consumed, and when that is told to the mount.
 *
 * A tensor is due once every parameter that it is a source of was finished. Due tensors are
 * gathered, because each telling is a system call and a daemon's round: until their bytes would be
 * missed (CONSUME_BYTES), or they are many (CONSUME_NAMES), or the first has waited long enough
 * (CONSUME_WAIT_NS). Belongs to one thread. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wloadfs/mount.h"
#include "wloadfs/plan.h"

#define CONSUME_BYTES	((uint64_t)64 << 20)
#define CONSUME_NAMES	512
#define CONSUME_WAIT_NS UINT64_C(50000000)

/* What is told; consume_on_mount() but for tests.
 *
 * read  the tensors were read, all of them; else none was */
typedef int (*consume_teller)(void *ctx, const char *const *names, size_t name_count, bool read,
			      bool *ret_changed, struct wload_error *err);

/* A consume_teller; ctx is the struct wload_mount. */
int consume_on_mount(void *ctx, const char *const *names, size_t name_count, bool read,
		     bool *ret_changed, struct wload_error *err);

/* Says whether a shard still is what was read from; wload_checkpoint_check() but for tests. */
typedef int (*consume_checker)(void *ctx, uint32_t shard, struct wload_error *err);

struct consume {
	const struct wload_inventory *inv;
	const struct wload_plan *plan;
	consume_teller tell;
	void *tell_ctx;
	consume_checker check; /* asked before anything is told; NULL: all are as they were */
	void *check_ctx;
	uint32_t *left;			 /* per tensor: places that the plan still needs it for */
	uint32_t tensors[CONSUME_NAMES]; /* that are due */
	const char *names[CONSUME_NAMES];
	size_t due;
	bool unread; /* those that are due were not read */
	uint64_t due_bytes, due_since_ns;
	/* counted here: what this load changed, not what others consumed before it */
	_Atomic uint64_t *consumed_tensors, *consumed_bytes;
};

/* Counts who needs what. Returns 0 or -ENOMEM; consume_close() either way. */
int consume_open(struct consume *consume, const struct wload_inventory *inv,
		 const struct wload_plan *plan, consume_teller tell, void *tell_ctx,
		 struct wload_error *err);
void consume_close(struct consume *consume);

/* A parameter is finished: sources that nobody needs any more become due, and are told if it is
 * time. Returns 0, or what the mount said. */
int consume_param(struct consume *consume, uint32_t param, uint64_t now_ns,
		  struct wload_error *err);

/* When the due ones are to be told at the latest; 0: there are none. */
uint64_t consume_deadline_ns(const struct consume *consume);

/* Tells what is due.
 *
 * Returns 0, -ESTALE when a shard that it is from changed, or what the mount said. */
int consume_flush(struct consume *consume, struct wload_error *err);

/* Tells what is due, then the tensors that no parameter needs. */
int consume_unused(struct consume *consume, uint64_t now_ns, struct wload_error *err);

#endif
