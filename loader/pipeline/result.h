/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_RESULT_H
#define WLOAD_RESULT_H

/* What a load leaves behind. It owns the device and the parameters' memory, and copies of every
 * name and shape, so that the checkpoint, and with it the mount, can be closed when the load ends.
 */

#include <stdatomic.h>

#include "loader/pipeline/param_memory.h"
#include "loader/pipeline/pinned.h"
#include "loader/pipeline/timeline.h"
#include "wloadfs/checkpoint.h"

struct wload_load {
	atomic_uint refs;
	struct device *device;
	struct pinned pinned; /* being freed, when the load has ended */
	struct param_memory memory;
	struct wload_report
		report; /* its strings are owned: device is the device's, the rest here */
	char *family, *note;
	struct wload_loaded *params;
	uint32_t count;
	uint32_t *by_name; /* parameters in the order of names */
	const char **unused;
	uint32_t unused_count;
	char **warnings;
	uint32_t warning_count;
	struct timeline timeline;
	char *names;	  /* all of them, NUL-terminated */
	uint64_t *shapes; /* all of them */
};

/* Makes an empty one with one reference; NULL when memory is short. */
struct wload_load *result_new(void);

/* Copies from the plan what outlives it. When everything arrived: names and shapes of 180,000
 * parameters are best held once, and the threads' own books are freed by then.
 *
 * Returns 0 or -ENOMEM. */
int result_fill(struct wload_load *load, const struct wload_inventory *inv,
		const struct wload_plan *plan, struct wload_error *err);

/* Adds to what the report notes. Returns 0 or -ENOMEM. */
int result_note(struct wload_load *load, const char *note, struct wload_error *err);

/* Copies the checkpoint's warnings. Returns 0 or -ENOMEM. */
int result_warn(struct wload_load *load, const struct wload_checkpoint *ckpt,
		struct wload_error *err);

#endif
