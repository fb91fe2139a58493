/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_GATE_H
#define WLOADFS_GATE_H

/* READs that wait for room (budget.h says why and how long), and the thread that answers them. */

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

struct wloadfs;
struct gate;

struct gate_range {
	uint64_t node;
	uint64_t lo, hi; /* bytes of the file */
};

/* Books a READ that was parked, if there is room or it must be. Returns 0, -EAGAIN or -ENOMEM. */
typedef int (*gate_admit)(struct wloadfs *fs, const struct gate_range *range, bool must);

/* Returns 0 or -errno. */
int gate_start(struct wloadfs *fs, gate_admit admit, struct gate **ret);

/* Answers all that is parked, ends the thread and frees the gate. Nobody may be parking. */
void gate_stop(struct gate *gate);

/* Puts a READ aside. Returns 0, or -ENOMEM: the caller keeps it. */
int gate_park(struct gate *gate, fuse_req_t req, struct gate_range range);

/* There may be room now. */
void gate_room(struct gate *gate);

/* A range is about to be dropped: READs of it are answered now, not when there is room. */
void gate_release(struct gate *gate, struct gate_range range);

/* How many READs were parked, so far. */
uint64_t gate_parked(struct gate *gate);

#endif
