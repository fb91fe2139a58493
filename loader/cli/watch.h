/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_WATCH_H
#define WLOAD_CLI_WATCH_H

/* `wload stats --watch`: a mount's numbers and layers (watch_frame.h) again and again, in place on
 * a terminal, as blocks elsewhere. */

#include <stdint.h>

#include "wloadfs/error.h"

/* Shows until SIGINT comes, or the mount goes, which it says; SIGTERM kills as without it.
 *
 * interval_ms  between two looks
 *
 * Returns 0, or -errno when PATH is no mount to begin with, its daemon died, or it can't be
 * understood. */
int watch(const char *path, uint64_t interval_ms, struct wload_error *err);

#endif
