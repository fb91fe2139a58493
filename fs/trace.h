/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TRACE_H
#define WLOADFS_TRACE_H

/* -o trace: who opened, read and consumed what, when, so that a load's mistakes have a name.
 *
 * Two memories: a ring of the last events (events.h), which .wload/trace shows, and a few marks of
 * each tensor (trace_kinds.h), which nothing displaces. Both under one lock. An event takes 0.1 to
 * 0.4 us, where a request takes tens; the order of the events is that of their times.
 *
 * READs are the kernel's: of a mapped file they are what it reads ahead too, and what it answers
 * from its own pages makes none. Of a shard a READ touches many tensors. One whose ends are page
 * borders may be for a mapping, and then bytes on a page that a consumed tensor shares with a live
 * one were meant for that one: they are no reading of what is consumed.
 *
 * Without -o trace each of these does nothing. Any thread; nothing waits. */

#include "fs/events.h"
#include "fs/fs.h"
#include "fs/mark.h"
#include "fs/trace_kinds.h"

struct trace;

/* Begins a trace. Returns 0 or -ENOMEM. */
int trace_start(struct wloadfs *fs);
void trace_free(struct wloadfs *fs);

/* Are the reads of shards served, so that they are seen? */
bool trace_sees_shards(const struct wloadfs *fs);

/* ---- what happens ---- */

void trace_open(struct wloadfs *fs, struct node file, int32_t pid);

/* A READ was served; `offset` and `bytes` are of the file. */
void trace_read(struct wloadfs *fs, struct node file, int32_t pid, uint64_t offset, uint64_t bytes);

/* A name was looked up, opened or asked for its attributes, and its tensor is consumed. Nodes that
 * are no tensors are none of ours. */
void trace_missing(struct wloadfs *fs, struct node file, int32_t pid);

/* unlink() took a tensor from its tree. */
void trace_unlink(struct wloadfs *fs, struct node file, int32_t pid);

/* A command changed one tensor's state in a tree; the command as a whole, once it is done. */
void trace_change(struct wloadfs *fs, uint32_t who, const struct action *action, uint32_t tensor);
void trace_action(struct wloadfs *fs, uint32_t who, const struct action *action);

/* ---- what is known ---- */

struct trace_counts {
	uint64_t events;  /* so far */
	uint64_t dropped; /* of them: no more in the ring */
};

struct trace_counts trace_counts(const struct wloadfs *fs);

/* Copies events, as events_copy(). */
uint32_t trace_copy(const struct wloadfs *fs, uint64_t from, uint32_t max, struct event *ret,
		    uint64_t *ret_lost);

/* The marks of all tensors, allocated; NULL when memory is short. */
uint8_t *trace_marks(const struct wloadfs *fs);

/* The tensors of which a READ of one of the checkpoint's own files has bytes: [*ret_first,
 * *ret_end).
 */
void trace_touched(const struct wloadfs *fs, uint32_t own, uint64_t offset, uint64_t bytes,
		   uint32_t *ret_first, uint32_t *ret_end);

#endif
