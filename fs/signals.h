/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_SIGNALS_H
#define WLOADFS_SIGNALS_H

/* How SIGINT, SIGTERM and SIGHUP end a session.
 *
 * libfuse's own handlers stop the workers first. But the evictor may be waiting in the kernel for a
 * READ that only a worker answers, and nothing can end that wait any more. So the signals are
 * blocked everywhere and taken by a thread, which stops the evictor while the workers still run,
 * and only then tells the session to end. */

#include "fs/fs.h"

struct signals;

/* Blocks the signals in this thread (those that it starts inherit that) and starts the thread. To
 * be called by the thread that runs the session's loop, after evictor_start(). Returns 0 or -errno.
 */
int signals_start(struct wloadfs *fs, struct signals **ret);

/* Ends the thread, after the loop returned. NULL is fine. */
void signals_stop(struct signals *signals);

#endif
