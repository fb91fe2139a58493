/* SPDX-License-Identifier: Apache-2.0 */
/* The null device: takes everything, keeps nothing. It measures what reading alone costs, so the
 * readers still read every byte, holes included. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader/device/device.h"
#include "loader/device/staging.h"

static int null_open(int ordinal, struct device **ret_device, struct wload_error *err)
{
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return wload_fail(err, ENOMEM, "no memory for the null device");
	device->ops = &device_null;
	device->ordinal = ordinal;
	(void)snprintf(device->label, sizeof(device->label), "null");
	*ret_device = device;
	return 0;
}

static void null_close(struct device *device)
{
	free(device);
}

static int null_memory(struct device *device, uint64_t *ret_free, uint64_t *ret_total,
		       struct wload_error *err)
{
	(void)device;
	(void)err;
	*ret_free = *ret_total = UINT64_MAX;
	return 0;
}

static int null_alloc(struct device *device, uint64_t bytes, bool transient, void **ret_base,
		      struct wload_error *err)
{
	(void)device;
	(void)bytes;
	(void)transient;
	(void)err;
	*ret_base = NULL;
	return 0;
}

static void null_free(struct device *device, void *base, uint64_t bytes, bool transient)
{
	(void)device;
	(void)base;
	(void)bytes;
	(void)transient;
}

static int null_staging_alloc(struct device *device, size_t bytes, uint8_t **ret_staging,
			      struct wload_error *err)
{
	(void)device;
	return staging_map(bytes, false, ret_staging, err);
}

static void null_staging_free(struct device *device, uint8_t *staging, size_t bytes)
{
	(void)device;
	staging_unmap(staging, bytes);
}

static int null_queue_open(struct device *device, unsigned int marks,
			   struct device_queue **ret_queue, struct wload_error *err)
{
	(void)device;
	(void)marks;
	(void)err;
	*ret_queue = NULL;
	return 0;
}

static void null_queue_close(struct device_queue *queue)
{
	(void)queue;
}

static int null_copy_in(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			size_t bytes, struct wload_error *err)
{
	(void)queue;
	(void)base;
	(void)offset;
	(void)src;
	(void)bytes;
	(void)err;
	return 0;
}

static int null_copy_rows(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			  size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err)
{
	(void)src_stride;
	return null_copy_in(queue, base, offset, src, row_bytes * rows, err);
}

static int null_mark(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	(void)queue;
	(void)mark;
	(void)err;
	return 0;
}

static int null_transform(struct device_queue *queue, const struct wload_param *param,
			  const void *staged, void *base, struct wload_error *err)
{
	(void)queue;
	(void)param;
	(void)staged;
	(void)base;
	(void)err;
	return 0;
}

static int null_copy_out(struct device_queue *queue, void *dst, const void *base, uint64_t offset,
			 size_t bytes, struct wload_error *err)
{
	(void)queue;
	(void)dst;
	(void)base;
	(void)offset;
	return wload_fail(err, EINVAL, "the null device kept none of %zu bytes", bytes);
}

const struct device_ops device_null = {
	.name = "null",
	.kind = WLOAD_DEVICE_NULL,
	.open = null_open,
	.close = null_close,
	.memory = null_memory,
	.alloc = null_alloc,
	.free = null_free,
	.staging_alloc = null_staging_alloc,
	.staging_free = null_staging_free,
	.queue_open = null_queue_open,
	.queue_close = null_queue_close,
	.copy_in = null_copy_in,
	.copy_rows = null_copy_rows,
	.mark = null_mark,
	.wait = null_mark,
	.transform = null_transform,
	.copy_out = null_copy_out,
};
