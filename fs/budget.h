/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_BUDGET_H
#define WLOADFS_BUDGET_H

/* -o budget=SIZE and -o consume=read: how much of the checkpoint the page cache may hold.
 *
 * Shards and tensors' files are then opened cached, and shards are read so that they leave nothing
 * (uncached.h): the FUSE pages are the only copy, each filled by a READ, and the READs are booked
 * (ledger.h). Above the high mark the evictor drops what was read longest ago, and what is consumed
 * at once. With consume=read the limit is a small window, and a moment without READs empties it.
 *
 * Where READs are faster than the evictor, one that would go over the limit is parked: put aside
 * without a thread waiting for it, and answered by a thread of its own, the gate, once there is
 * room. Dropping pages waits for the READs in flight that fill them, and those may wait, in the
 * kernel's queue, behind others that are parked; so nothing is parked for longer than PARK_NS.
 * Then it is answered, over the limit if need be: a wait for each other costs that moment, and
 * never hangs. READs of the very range that is being dropped are not parked at all. */

#include "fs/fs.h"
#include "fs/node.h"

/* What a mount was asked for; all zero: nothing. */
#define BUDGET_BYTES_MIN                                                                           \
	(16u << 20)		       /* a few readers' requests in flight and read-ahead fill it \
					*/
#define CONSUME_READ_BYTES (32u << 20) /* several readers' streams */

/* Starts what fs->asked asks for; nothing else does anything then. Before the evictor. Returns 0 or
 * -errno. */
int budget_start(struct wloadfs *fs);

/* Answers what is parked and frees all of it. The evictor has ended and no READs come any more. */
void budget_stop(struct wloadfs *fs);

/* Are the pages of this file counted, and it therefore opened cached and read uncached? */
bool budget_covers(const struct wloadfs *fs, struct node node);

/* A file that is covered is about to be opened. */
void budget_open(struct wloadfs *fs);

/* Books a READ before it is answered. Any thread.
 *
 * Returns 0: the caller answers it. -EAGAIN: it was parked and is answered by the gate. -ENOMEM. */
int budget_read(struct wloadfs *fs, fuse_req_t req, struct node node, uint64_t offset, size_t size);

/* Around the dropping of a file's pages for another reason: consumption. Evictor only. */
void budget_dropping(struct wloadfs *fs, struct node node, uint64_t lo, uint64_t hi);
void budget_dropped(struct wloadfs *fs);

/* ---- for the evictor's loop ---- */

/* Is there a piece to drop now? Any thread, no lock. */
bool budget_wants(const struct wloadfs *fs);

/* Drops one piece, if there is one. */
void budget_step(struct wloadfs *fs);

/* When budget_look() is to be called next (CLOCK_MONOTONIC, ns); UINT64_MAX: never. */
uint64_t budget_look_at(const struct wloadfs *fs);

/* Empties the window of consume=read after a moment without READs. Looks at what the shards' own
 * files have cached, which others may have read, and drops that where it is too much. */
void budget_look(struct wloadfs *fs);

/* ---- stats.json, metrics ---- */

/* How many bytes of pages there may be, and are; false without a budget or consume=read. */
bool budget_numbers(struct wloadfs *fs, uint64_t *ret_window_bytes, uint64_t *ret_used_bytes);

/* Appends what "budget" is: null, or an object. */
void budget_json(struct wloadfs *fs, struct text *text);

#endif
