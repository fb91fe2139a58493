/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_TRACE_FILE_H
#define WLOADFS_TRACE_FILE_H

/* Reading .wload/trace: a line about the mount, then an event a line.
 *
 * A cursor is a descriptor's place in the stream of events. It ends where the events ended when it
 * was opened, so that cat(1) ends on a busy mount too; whoever was told of an end and reads on
 * gets what came since. What the ring lost before it was read is a line that counts it.
 */

#include <sys/types.h>

#include "fs/fs.h"

struct trace_cursor;

/* Returns one for trace_cursor_free(), or NULL when memory is short. */
struct trace_cursor *trace_cursor_new(const struct wloadfs *fs);
void trace_cursor_free(struct trace_cursor *cursor);

/* Reads on. One thread at a time. Returns how many bytes, 0 at the end, or -ENOMEM. */
ssize_t trace_cursor_read(const struct wloadfs *fs, struct trace_cursor *cursor, size_t len,
			  char *buf);

#endif
