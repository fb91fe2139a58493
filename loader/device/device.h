/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_DEVICE_H
#define WLOAD_DEVICE_H

/* Where parameters go: one table of operations a kind of device.
 *
 * An opened device belongs to the whole load and may be used by any thread. What keeps order is a
 * queue: one a thread, opened and used by that thread alone. Copies into a queue are asynchronous;
 * a mark stands behind all copies that were queued before it, and waiting for the mark is how a
 * staging buffer becomes free again. A queue has a fixed number of marks, numbered from 0, so that
 * a ring of staging buffers needs nothing but its own slot numbers.
 *
 * Parameter memory is named by (base, offset), never by a computed pointer: the null device has no
 * base to add to. */

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/loader.h"
#include "wloadfs/plan.h"

#define DEVICE_LABEL_MAX 192

/* What memory is given back in: a huge page. */
#define DEVICE_GRANULE_BYTES ((uint64_t)2 << 20)

struct device_ops;
struct device_queue;

/* What every device begins with; the rest is the device's own. */
struct device {
	const struct device_ops *ops;
	int ordinal;
	char label[DEVICE_LABEL_MAX]; /* for the report: "cuda:0 (NVIDIA H100 80GB HBM3)" */
	bool cpus_known;	      /* some processors are nearer than others: */
	cpu_set_t cpus;		      /* those that readers should run on */
};

struct device_ops {
	const char *name; /* as the user writes it */
	enum wload_device_kind kind;
	bool addressable; /* parameters are plain host memory: readers may read straight into it */
	bool keeps;	  /* what was copied in can be copied out again */
	bool slow_copies; /* each copy costs microseconds: better few large ones */

	/* Returns 0, -ENODEV when there is no such device (with why), or -EIO. */
	int (*open)(int ordinal, struct device **ret_device, struct wload_error *err);
	void (*close)(struct device *device);

	/* Bytes that parameters may take now, and bytes there are. */
	int (*memory)(struct device *device, uint64_t *ret_free, uint64_t *ret_total,
		      struct wload_error *err);

	/* Parameter memory, 256-byte aligned. transient: it will be freed while the load still
	 * runs, so freeing must not stop the device. free() takes what alloc() was given; any
	 * thread. Returns 0, or -ENOMEM when the device refuses. */
	int (*alloc)(struct device *device, uint64_t bytes, bool transient, void **ret_base,
		     struct wload_error *err);
	void (*free)(struct device *device, void *base, uint64_t bytes, bool transient);
	/* Gives back what lies behind bytes of transient memory whose content nobody needs any
	 * more; offset and bytes are multiples of DEVICE_GRANULE_BYTES. NULL: only free() does. */
	void (*discard)(struct device *device, void *base, uint64_t offset, uint64_t bytes);

	/* No more is allocated for a while: gives back what was kept for it. NULL: nothing was. */
	void (*trim)(struct device *device);

	/* Host memory that copies start from and end in. */
	int (*staging_alloc)(struct device *device, size_t bytes, uint8_t **ret_staging,
			     struct wload_error *err);
	void (*staging_free)(struct device *device, uint8_t *staging, size_t bytes);

	int (*queue_open)(struct device *device, unsigned int marks,
			  struct device_queue **ret_queue, struct wload_error *err);
	/* Waits for everything that was queued. By the thread that opened it; NULL is fine. */
	void (*queue_close)(struct device_queue *queue);

	/* Queues a copy; src stays untouched until a mark behind it was waited for. */
	int (*copy_in)(struct device_queue *queue, void *base, uint64_t offset, const void *src,
		       size_t bytes, struct wload_error *err);
	/* The same of rows of row_bytes, src_stride bytes apart in src; dense in the parameter. */
	int (*copy_rows)(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			 size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err);
	int (*mark)(struct device_queue *queue, unsigned int mark, struct wload_error *err);
	int (*wait)(struct device_queue *queue, unsigned int mark, struct wload_error *err);

	/* Runs a parameter's steps on staged bytes that are all there, and waits until it is made:
	 * staged and base are device memory. Returns 0, -EBADMSG as transform_run() does, -ENOMEM,
	 * or -EIO. */
	int (*transform)(struct device_queue *queue, const struct wload_param *param,
			 const void *staged, void *base, struct wload_error *err);

	/* Copies back, and waits for it. Not called where keeps is false. */
	int (*copy_out)(struct device_queue *queue, void *dst, const void *base, uint64_t offset,
			size_t bytes, struct wload_error *err);
};

/* What a user's device name asks for. */
struct device_choice {
	const struct device_ops *ops;
	int ordinal;
	bool automatic; /* "auto": fall back to the host, if the parameters fit there */
};

/* Reads "auto", "cuda", "cuda:N", "host", "null"; NULL is "auto". Opens nothing.
 *
 * Returns 0, -EINVAL for anything else, -ENODEV for "cuda" in a build without it. */
int device_choose(const char *name, struct device_choice *ret_choice, struct wload_error *err);

/* Opens what was chosen; "auto" is the first CUDA device, the host when none answers.
 *
 * Returns 0, or what the device's open() said. */
int device_open(const struct device_choice *choice, struct device **ret_device,
		struct wload_error *err);

/* NULL is fine. */
void device_close(struct device *device);

/* Keeps the calling thread to the processors near the device, where some are nearer: memory lies on
 * the node of the thread that touches it first. */
void device_run_near(const struct device *device);

/* The address of a byte of parameter memory; defined for the null device's base too. */
static inline void *device_at(const void *base, uint64_t offset)
{
	return (void *)((uintptr_t)base + (uintptr_t)offset);
}

extern const struct device_ops device_null;
extern const struct device_ops device_host;
extern const struct device_ops device_cuda; /* only in a build with CUDA */

#endif
