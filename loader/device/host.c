/* SPDX-License-Identifier: Apache-2.0 */
/* The host as a device: parameters are plain memory. It is addressable, so readers put most bytes
 * where they belong without a copy; copies in happen at once, and marks have nothing to wait for.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "loader/device/device.h"
#include "loader/device/host_memory.h"
#include "loader/device/staging.h"
#include "loader/transform/transform.h"

#define ALIGN_BYTES 256

/* From here on an allocation gets its own mapping, which free() gives back to the system. */
#define MAP_FROM_BYTES ((uint64_t)128 << 10)

static int host_open(int ordinal, struct device **ret_device, struct wload_error *err)
{
	struct device *device = calloc(1, sizeof(*device));

	if (!device)
		return wload_fail(err, ENOMEM, "no memory for the host device");
	device->ops = &device_host;
	device->ordinal = ordinal;
	(void)snprintf(device->label, sizeof(device->label), "host");
	*ret_device = device;
	return 0;
}

static void host_close(struct device *device)
{
	free(device);
}

static int host_memory(struct device *device, uint64_t *ret_free, uint64_t *ret_total,
		       struct wload_error *err)
{
	(void)device;
	return host_memory_available(ret_free, ret_total, err);
}

static int host_alloc(struct device *device, uint64_t bytes, bool transient, void **ret_base,
		      struct wload_error *err)
{
	uint8_t *base = NULL;
	int r;

	(void)device;
	(void)transient;
	if (bytes > SIZE_MAX / 2)
		return wload_fail(err, ENOMEM, "no %llu bytes of host memory",
				  (unsigned long long)bytes);
	if (bytes >= MAP_FROM_BYTES) {
		r = staging_map((size_t)bytes, false, &base, err);
		if (r < 0)
			return r;
		*ret_base = base;
		return 0;
	}
	base = aligned_alloc(ALIGN_BYTES, (bytes / ALIGN_BYTES + 1) * ALIGN_BYTES);
	if (!base)
		return wload_fail(err, ENOMEM, "no %llu bytes of host memory",
				  (unsigned long long)bytes);
	*ret_base = base;
	return 0;
}

static void host_free(struct device *device, void *base, uint64_t bytes, bool transient)
{
	(void)device;
	(void)transient;
	if (bytes >= MAP_FROM_BYTES)
		staging_unmap(base, (size_t)bytes);
	else
		free(base);
}

static void host_discard(struct device *device, void *base, uint64_t offset, uint64_t bytes)
{
	(void)device;
	(void)madvise(device_at(base, offset), (size_t)bytes, MADV_DONTNEED);
}

static int host_staging_alloc(struct device *device, size_t bytes, uint8_t **ret_staging,
			      struct wload_error *err)
{
	(void)device;
	return staging_map(bytes, false, ret_staging, err);
}

static void host_staging_free(struct device *device, uint8_t *staging, size_t bytes)
{
	(void)device;
	staging_unmap(staging, bytes);
}

static int host_queue_open(struct device *device, unsigned int marks,
			   struct device_queue **ret_queue, struct wload_error *err)
{
	(void)device;
	(void)marks;
	(void)err;
	*ret_queue = NULL;
	return 0;
}

static void host_queue_close(struct device_queue *queue)
{
	(void)queue;
}

static int host_copy_in(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			size_t bytes, struct wload_error *err)
{
	(void)queue;
	(void)err;
	memcpy(device_at(base, offset), src, bytes);
	return 0;
}

static int host_copy_rows(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			  size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err)
{
	(void)queue;
	(void)err;
	for (size_t i = 0; i < rows; i++)
		memcpy(device_at(base, offset + i * row_bytes),
		       (const uint8_t *)src + i * src_stride, row_bytes);
	return 0;
}

static int host_mark(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	(void)queue;
	(void)mark;
	(void)err;
	return 0;
}

static int host_transform(struct device_queue *queue, const struct wload_param *param,
			  const void *staged, void *base, struct wload_error *err)
{
	(void)queue;
	return transform_run(param, staged, base, err);
}

static int host_copy_out(struct device_queue *queue, void *dst, const void *base, uint64_t offset,
			 size_t bytes, struct wload_error *err)
{
	(void)queue;
	(void)err;
	memcpy(dst, device_at(base, offset), bytes);
	return 0;
}

const struct device_ops device_host = {
	.name = "host",
	.kind = WLOAD_DEVICE_HOST,
	.addressable = true,
	.keeps = true,
	.open = host_open,
	.close = host_close,
	.memory = host_memory,
	.alloc = host_alloc,
	.free = host_free,
	.discard = host_discard,
	.staging_alloc = host_staging_alloc,
	.staging_free = host_staging_free,
	.queue_open = host_queue_open,
	.queue_close = host_queue_close,
	.copy_in = host_copy_in,
	.copy_rows = host_copy_rows,
	.mark = host_mark,
	.wait = host_mark,
	.transform = host_transform,
	.copy_out = host_copy_out,
};
