/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_AHEAD_H
#define WLOADFS_AHEAD_H

/* Reading ahead for those who read a tensor's file from its beginning on. */

#include <sys/types.h>

#include "fs/fs.h"
#include "fs/node.h"

/* Room that a caller's buffer has at least; larger READs are not followed. */
#define AHEAD_PIECE_BYTES (1u << 20)

/* Starts the threads; none where there is one CPU for us. Returns 0 or -errno. */
int ahead_start(struct wloadfs *fs);

/* Ends and frees all of it; does nothing where it never started. Nobody may be reading. */
void ahead_stop(struct wloadfs *fs);

/* Takes what was read ahead for a READ of a tensor's file, and has what follows it read.
 *
 * buf        may be exchanged for another; all have AHEAD_PIECE_BYTES
 * ret_bytes  set to the bytes, somewhere in *buf
 *
 * Returns how many bytes there are, or -EAGAIN: the caller reads itself. Waits for nothing but the
 * shard. */
ssize_t ahead_take(struct wloadfs *fs, struct node node, uint64_t offset, size_t size, char **buf,
		   const char **ret_bytes);

/* Around an eviction, of tensors that are marked by then: drops what was read ahead of consumed
 * tensors, and waits until nothing is being read ahead. It would bring back what is evicted, or
 * hold a folio that the neighbour shares, with no client reading. Any thread. */
void ahead_pause(struct wloadfs *fs);
void ahead_resume(struct wloadfs *fs);

#endif
