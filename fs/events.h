/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_EVENTS_H
#define WLOADFS_EVENTS_H

/* The ring of what happened on a mount, and an event's line of .wload/trace. Pure; the owner's
 * lock.
 *
 * Events are numbered from 0. The ring keeps the last EVENTS_MAX of them, and whoever asks for one
 * that is gone is told how many are. An event names a node and numbers, never a text, so that
 * keeping one is a copy of 40 bytes; its line is made when somebody reads it. */

#include <stdint.h>

#include "fs/node.h"
#include "loader/base/text.h"
#include "wloadfs/tensor.h"

#define EVENTS_MAX (1u << 18) /* of 40 bytes: 10 MiB */

enum event_kind {
	EVENT_OPEN,
	EVENT_READ,
	EVENT_CONSUME, /* one tensor, by a name of its own */
	EVENT_CONSUME_PREFIX,
	EVENT_CONSUME_ALL,
	EVENT_RESTORE_PREFIX,
	EVENT_RESTORE_ALL,
	EVENT_REREAD,  /* of what is consumed */
	EVENT_MISSING, /* a name whose tensor is consumed was looked for */
	EVENT_KINDS
};

/* How one tensor was consumed. */
enum event_way { EVENT_BY_UNLINK, EVENT_BY_KEY, EVENT_BY_LOADED };

/* What the numbers are, by kind:
 *
 *                  node            a                b            count
 *   OPEN           the file
 *   READ           the file        offset           bytes        (of a shard: first, end below)
 *   CONSUME        the tensor      an event_way
 *   …_PREFIX       of one tensor   prefix's bytes                tensors
 *   …_ALL                                                        tensors
 *   REREAD         the first       consumed at, us  by that pid  tensors
 *   MISSING        the tensor      consumed at, us  by that pid */
struct event {
	uint64_t at_us : 56; /* since the mount began */
	uint64_t kind : 8;
	uint64_t node; /* node_id() */
	uint64_t a;
	uint32_t b;
	uint32_t count;
	int32_t pid;
};

struct events {
	struct event *ring; /* EVENTS_MAX */
	uint64_t end;	    /* events so far: the next one's number */
};

/* Returns 0 or -ENOMEM. */
int events_init(struct events *events);
void events_free(struct events *events);

void events_add(struct events *events, const struct event *event);

/* Copies events from number `from` on.
 *
 * ret_lost  how many of them are gone; those copied are the ones behind
 *
 * Returns how many were copied, at most max. */
uint32_t events_copy(const struct events *events, uint64_t from, uint32_t max, struct event *ret,
		     uint64_t *ret_lost);

/* What an event's line says beside its numbers. */
struct event_words {
	const struct wload_inventory *inv;
	const char *file;    /* path in its tree, of a file that is no single tensor's; else NULL */
	uint32_t first, end; /* of a READ of a shard: the tensors that it touches */
};

/* Appends the line, newline included. */
void event_line(const struct event *event, const struct event_words *words, struct text *text);

/* Appends microseconds as seconds. */
void event_seconds(uint64_t us, struct text *text);

#endif
