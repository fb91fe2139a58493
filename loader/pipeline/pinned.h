/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PINNED_H
#define WLOAD_PINNED_H

/* The staging of all readers, made by a thread of its own while the checkpoint is opened and
 * planned: zeroing and pinning 80 MiB takes a GPU's driver longer than that, and as one piece less
 * than as one a reader. Freed beside what follows the load, too, for unpinning takes as long. */

#include <pthread.h>
#include <stdbool.h>

#include "loader/device/device.h"

struct pinned {
	struct device *device; /* NULL: not begun */
	size_t bytes;
	pthread_t thread; /* which makes it, or later frees it */
	bool running;
	uint8_t *base;
	int code;
	struct wload_error err;
};

/* Begins. The device is borrowed until pinned_close(). */
void pinned_begin(struct pinned *pinned, struct device *device, size_t bytes);

/* Waits until it is there.
 *
 * ret_base  pinned_close() frees it
 *
 * Returns 0, or what the device's staging_alloc() said. */
int pinned_wait(struct pinned *pinned, uint8_t **ret_base, struct wload_error *err);

/* Begins to free it, beside what the caller does next. Nobody uses it any more. */
void pinned_drop(struct pinned *pinned);

/* Waits until it is freed, which it begins where pinned_drop() did not. One that is zeroed is
 * fine. */
void pinned_close(struct pinned *pinned);

#endif
