/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA GPUs, through the CUDA runtime linked statically: the same binary runs where there is no
 * driver, and open() says so.
 *
 * The runtime works on whatever context its calling thread has. A caller of the library has threads
 * and devices of its own, so nothing here calls cudaSetDevice(), which would change theirs (and,
 * since CUDA 12, create a context on a device only to switch back to it). Instead the device's
 * primary context, the one that the runtime and every framework share, is retained through the
 * driver and pushed around each use. It stays retained until the process ends: DLPack tensors may
 * outlive everything else, and a context that is destroyed and made again costs a third of a
 * second.
 *
 * Three things are kept away from cudaMalloc and cudaFree while a load runs, because cudaFree stops
 * the device: staging is huge pages that are registered, parameters are pooled, and those that are
 * freed during the load (transient) come from a memory pool of their own. */

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/device/cuda_error.h"
#include "loader/device/cuda_transform.h"
#include "loader/device/device.h"
#include "loader/device/numa.h"
#include "loader/device/staging.h"

/* What is needed of the driver; found at run time. The _v2 names are those that cuda.h's macros
 * stand for. */
struct driver {
	CUresult (*init)(unsigned int flags);
	CUresult (*count)(int *count);
	CUresult (*device)(CUdevice *device, int ordinal);
	CUresult (*name)(char *name, int len, CUdevice device);
	CUresult (*bus_id)(char *id, int len, CUdevice device);
	CUresult (*retain)(CUcontext *context, CUdevice device);
	CUresult (*push)(CUcontext context);
	CUresult (*pop)(CUcontext *context);
	CUresult (*error_string)(CUresult error, const char **text);
	CUresult (*error_name)(CUresult error, const char **name);
};

static const struct {
	const char *symbol;
	size_t offset;
} driver_symbols[] = {
	{"cuInit", offsetof(struct driver, init)},
	{"cuDeviceGetCount", offsetof(struct driver, count)},
	{"cuDeviceGet", offsetof(struct driver, device)},
	{"cuDeviceGetName", offsetof(struct driver, name)},
	{"cuDeviceGetPCIBusId", offsetof(struct driver, bus_id)},
	{"cuDevicePrimaryCtxRetain", offsetof(struct driver, retain)},
	{"cuCtxPushCurrent_v2", offsetof(struct driver, push)},
	{"cuCtxPopCurrent_v2", offsetof(struct driver, pop)},
	{"cuGetErrorString", offsetof(struct driver, error_string)},
	{"cuGetErrorName", offsetof(struct driver, error_name)},
};

struct cuda_device {
	struct device base;
	struct driver driver;
	CUcontext context;
	cudaStream_t alloc_stream; /* orders transient memory */
	cudaMemPool_t pool;	   /* NULL where the device has none */
};

struct device_queue {
	struct cuda_device *device;
	cudaStream_t stream;
	unsigned int marks;
	cudaEvent_t events[];
};

static struct cuda_device *cuda_of(struct device *device)
{
	return (struct cuda_device *)device;
}

static int driver_errno(CUresult e)
{
	switch (e) {
	case CUDA_ERROR_OUT_OF_MEMORY:
		return ENOMEM;
	case CUDA_ERROR_NO_DEVICE:
	case CUDA_ERROR_INVALID_DEVICE:
	case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
	case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
	case CUDA_ERROR_STUB_LIBRARY:
		return ENODEV;
	default:
		return EIO;
	}
}

static int driver_result(const struct driver *driver, CUresult e, const char *call, int ordinal,
			 struct wload_error *err)
{
	const char *text, *name;

	if (e == CUDA_SUCCESS)
		return 0;
	if (driver->error_string(e, &text) != CUDA_SUCCESS ||
	    driver->error_name(e, &name) != CUDA_SUCCESS)
		return wload_fail(err, driver_errno(e), "device 'cuda:%d': %s: unknown error %d",
				  ordinal, call, (int)e);
	return wload_fail(err, driver_errno(e), "device 'cuda:%d': %s: %s (%s)", ordinal, call,
			  text, name);
}

static void cuda_leave(struct cuda_device **device)
{
	CUcontext context;

	if (*device)
		(void)(*device)->driver.pop(&context);
}

/* Makes the device's context this thread's own until the end of the scope. */
static struct cuda_device *cuda_enter(struct device *device)
{
	struct cuda_device *cuda = cuda_of(device);

	return cuda->driver.push(cuda->context) == CUDA_SUCCESS ? cuda : NULL;
}

#define CUDA_SCOPE(device)                                                 \
	struct cuda_device *cuda CLEANUP(cuda_leave) = cuda_enter(device); \
	(void)cuda

static int driver_open(struct driver *ret_driver, int ordinal, struct wload_error *err)
{
	/* Never closed: the runtime holds the same library. */
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return wload_fail(err, ENODEV, "device 'cuda:%d': no NVIDIA driver here (%s)",
				  ordinal, dlerror());
	for (size_t i = 0; i < sizeof(driver_symbols) / sizeof(driver_symbols[0]); i++) {
		void *symbol = dlsym(lib, driver_symbols[i].symbol);

		if (!symbol)
			return wload_fail(err, ENODEV, "device 'cuda:%d': the driver lacks %s",
					  ordinal, driver_symbols[i].symbol);
		memcpy((char *)ret_driver + driver_symbols[i].offset, &symbol, sizeof(symbol));
	}
	return 0;
}

/* Finds the processors on the GPU's node. */
static void find_cpus(struct cuda_device *cuda, CUdevice device)
{
	char pci[32];
	cpu_set_t allowed;

	if (cuda->driver.bus_id(pci, sizeof(pci), device) == CUDA_SUCCESS &&
	    sched_getaffinity(0, sizeof(allowed), &allowed) == 0)
		cuda->base.cpus_known = numa_cpus_near("/sys", pci, &allowed, &cuda->base.cpus);
}

/* Finds the device and retains its primary context. */
static int context_open(struct cuda_device *cuda, int ordinal, struct wload_error *err)
{
	const struct driver *driver = &cuda->driver;
	char name[128] = "";
	CUdevice device;
	int count, r;

	r = driver_result(driver, driver->init(0), "cuInit", ordinal, err);
	if (r < 0)
		return r;
	r = driver_result(driver, driver->count(&count), "cuDeviceGetCount", ordinal, err);
	if (r < 0)
		return r;
	if (ordinal >= count)
		return wload_fail(err, ENODEV, "device 'cuda:%d': there are %d", ordinal, count);
	r = driver_result(driver, driver->device(&device, ordinal), "cuDeviceGet", ordinal, err);
	if (r < 0)
		return r;
	(void)driver->name(name, sizeof(name), device);
	(void)snprintf(cuda->base.label, sizeof(cuda->base.label), "cuda:%d (%s)", ordinal, name);
	find_cpus(cuda, device);
	return driver_result(driver, driver->retain(&cuda->context, device),
			     "cuDevicePrimaryCtxRetain", ordinal, err);
}

/* A pool of its own, which gives nothing back before it is destroyed: the framework's default pool
 * keeps its settings. */
static int pool_open(struct cuda_device *cuda, int ordinal, struct wload_error *err)
{
	struct cudaMemPoolProps props = {
		.allocType = cudaMemAllocationTypePinned,
		.handleTypes = cudaMemHandleTypeNone,
		.location = {.type = cudaMemLocationTypeDevice, .id = ordinal}};
	uint64_t keep = UINT64_MAX;
	int supported = 0, r;

	r = cuda_result(
		cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, ordinal),
		"cudaDeviceGetAttribute", err);
	if (r < 0 || !supported)
		return r;
	r = cuda_result(cudaMemPoolCreate(&cuda->pool, &props), "cudaMemPoolCreate", err);
	if (r < 0)
		return r;
	return cuda_result(
		cudaMemPoolSetAttribute(cuda->pool, cudaMemPoolAttrReleaseThreshold, &keep),
		"cudaMemPoolSetAttribute", err);
}

/* The runtime's part; the first call is where it finds that a driver is too old for it. */
static int runtime_open(struct cuda_device *opened, int ordinal, struct wload_error *err)
{
	int r;
	CUDA_SCOPE(&opened->base);

	if (!cuda)
		return wload_fail(err, EIO, "device 'cuda:%d': its context can't be used", ordinal);
	r = cuda_result(cudaStreamCreateWithFlags(&cuda->alloc_stream, cudaStreamNonBlocking),
			"cudaStreamCreateWithFlags", err);
	return r < 0 ? r : pool_open(cuda, ordinal, err);
}

static void cuda_close(struct device *device)
{
	struct cuda_device *closing = cuda_of(device);

	if (closing->context) {
		CUDA_SCOPE(device);

		if (closing->alloc_stream)
			(void)cudaStreamSynchronize(closing->alloc_stream);
		if (closing->pool)
			(void)cudaMemPoolDestroy(closing->pool);
		if (closing->alloc_stream)
			(void)cudaStreamDestroy(closing->alloc_stream);
		(void)cudaGetLastError();
	}
	free(closing);
}

static int cuda_open(int ordinal, struct device **ret_device, struct wload_error *err)
{
	struct cuda_device *cuda = calloc(1, sizeof(*cuda));
	int r;

	if (!cuda)
		return wload_fail(err, ENOMEM, "no memory for device 'cuda:%d'", ordinal);
	cuda->base.ops = &device_cuda;
	cuda->base.ordinal = ordinal;
	r = driver_open(&cuda->driver, ordinal, err);
	if (r == 0)
		r = context_open(cuda, ordinal, err);
	if (r == 0)
		r = runtime_open(cuda, ordinal, err);
	if (r < 0) {
		cuda_close(&cuda->base);
		return r;
	}
	*ret_device = &cuda->base;
	return 0;
}

static int cuda_memory(struct device *device, uint64_t *ret_free, uint64_t *ret_total,
		       struct wload_error *err)
{
	size_t free_bytes = 0, total = 0;
	int r;
	CUDA_SCOPE(device);

	r = cuda_result(cudaMemGetInfo(&free_bytes, &total), "cudaMemGetInfo", err);
	if (r < 0)
		return r;
	*ret_free = free_bytes;
	*ret_total = total;
	return 0;
}

static int cuda_alloc(struct device *device, uint64_t bytes, bool transient, void **ret_base,
		      struct wload_error *err)
{
	size_t want = bytes ? (size_t)bytes : 1;
	void *base = NULL;
	int r;
	CUDA_SCOPE(device);

	if (!transient || !cuda_of(device)->pool) {
		r = cuda_result(cudaMalloc(&base, want), "cudaMalloc", err);
	} else {
		cudaStream_t stream = cuda_of(device)->alloc_stream;

		r = cuda_result(cudaMallocFromPoolAsync(&base, want, cuda_of(device)->pool, stream),
				"cudaMallocFromPoolAsync", err);
		if (r == 0) /* other streams use it next */
			r = cuda_result(cudaStreamSynchronize(stream), "cudaStreamSynchronize",
					err);
	}
	if (r == 0)
		*ret_base = base;
	return r;
}

static void cuda_free(struct device *device, void *base, uint64_t bytes, bool transient)
{
	CUDA_SCOPE(device);

	(void)bytes;
	if (!base)
		return;
	if (transient && cuda_of(device)->pool)
		(void)cudaFreeAsync(base, cuda_of(device)->alloc_stream);
	else
		(void)cudaFree(base);
	(void)cudaGetLastError();
}

/* What was transient stays in the pool, for the next one, until here. */
static void cuda_trim(struct device *device)
{
	CUDA_SCOPE(device);

	if (!cuda_of(device)->pool)
		return;
	(void)cudaStreamSynchronize(cuda_of(device)->alloc_stream);
	(void)cudaMemPoolTrimTo(cuda_of(device)->pool, 0);
	(void)cudaGetLastError();
}

static int cuda_staging_alloc(struct device *device, size_t bytes, uint8_t **ret_staging,
			      struct wload_error *err)
{
	uint8_t *staging;
	int r;
	CUDA_SCOPE(device);

	r = staging_map(bytes, true, &staging, err);
	if (r < 0)
		return r;
	r = cuda_result(cudaHostRegister(staging, bytes, cudaHostRegisterPortable),
			"cudaHostRegister", err);
	if (r < 0) {
		staging_unmap(staging, bytes);
		return r;
	}
	*ret_staging = staging;
	return 0;
}

static void cuda_staging_free(struct device *device, uint8_t *staging, size_t bytes)
{
	CUDA_SCOPE(device);

	if (!staging)
		return;
	(void)cudaHostUnregister(staging);
	(void)cudaGetLastError();
	staging_unmap(staging, bytes);
}

/* Leaves the context, which queue_open() entered for as long as the queue lives. */
static void cuda_queue_close(struct device_queue *queue)
{
	CUcontext context;

	if (!queue)
		return;
	if (queue->stream)
		(void)cudaStreamSynchronize(queue->stream);
	for (unsigned int i = 0; i < queue->marks; i++)
		if (queue->events[i])
			(void)cudaEventDestroy(queue->events[i]);
	if (queue->stream)
		(void)cudaStreamDestroy(queue->stream);
	(void)cudaGetLastError();
	(void)queue->device->driver.pop(&context);
	free(queue);
}

static int queue_fill(struct device_queue *queue, struct wload_error *err)
{
	int r = cuda_result(cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking),
			    "cudaStreamCreateWithFlags", err);

	for (unsigned int i = 0; r == 0 && i < queue->marks; i++)
		r = cuda_result(
			cudaEventCreateWithFlags(&queue->events[i],
						 cudaEventDisableTiming | cudaEventBlockingSync),
			"cudaEventCreateWithFlags", err);
	return r;
}

static int cuda_queue_open(struct device *device, unsigned int marks,
			   struct device_queue **ret_queue, struct wload_error *err)
{
	struct device_queue *queue = calloc(1, sizeof(*queue) + marks * sizeof(queue->events[0]));
	int r;

	if (!queue)
		return wload_fail(err, ENOMEM, "no memory for a queue of '%s'", device->label);
	if (!cuda_enter(device)) {
		free(queue);
		return wload_fail(err, EIO, "device '%s': its context can't be used",
				  device->label);
	}
	queue->device = cuda_of(device);
	queue->marks = marks;
	r = queue_fill(queue, err);
	if (r < 0) {
		cuda_queue_close(queue);
		return r;
	}
	*ret_queue = queue;
	return 0;
}

static int cuda_copy_in(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			size_t bytes, struct wload_error *err)
{
	return cuda_result(cudaMemcpyAsync(device_at(base, offset), src, bytes,
					   cudaMemcpyHostToDevice, queue->stream),
			   "cudaMemcpyAsync to the device", err);
}

static int cuda_copy_rows(struct device_queue *queue, void *base, uint64_t offset, const void *src,
			  size_t src_stride, size_t row_bytes, size_t rows, struct wload_error *err)
{
	return cuda_result(cudaMemcpy2DAsync(device_at(base, offset), row_bytes, src, src_stride,
					     row_bytes, rows, cudaMemcpyHostToDevice,
					     queue->stream),
			   "cudaMemcpy2DAsync to the device", err);
}

static int cuda_mark(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	return cuda_result(cudaEventRecord(queue->events[mark], queue->stream), "cudaEventRecord",
			   err);
}

static int cuda_wait(struct device_queue *queue, unsigned int mark, struct wload_error *err)
{
	return cuda_result(cudaEventSynchronize(queue->events[mark]), "cudaEventSynchronize", err);
}

static int cuda_transform(struct device_queue *queue, const struct wload_param *param,
			  const void *staged, void *base, struct wload_error *err)
{
	return cuda_transform_run(queue->stream, queue->device->pool, param, staged, base, err);
}

static int cuda_copy_out(struct device_queue *queue, void *dst, const void *base, uint64_t offset,
			 size_t bytes, struct wload_error *err)
{
	int r = cuda_result(cudaMemcpyAsync(dst, device_at(base, offset), bytes,
					    cudaMemcpyDeviceToHost, queue->stream),
			    "cudaMemcpyAsync from the device", err);

	return r < 0 ? r
		     : cuda_result(cudaStreamSynchronize(queue->stream), "cudaStreamSynchronize",
				   err);
}

const struct device_ops device_cuda = {
	.name = "cuda",
	.kind = WLOAD_DEVICE_CUDA,
	.keeps = true,
	.slow_copies = true,
	.open = cuda_open,
	.close = cuda_close,
	.memory = cuda_memory,
	.alloc = cuda_alloc,
	.free = cuda_free,
	.trim = cuda_trim,
	.staging_alloc = cuda_staging_alloc,
	.staging_free = cuda_staging_free,
	.queue_open = cuda_queue_open,
	.queue_close = cuda_queue_close,
	.copy_in = cuda_copy_in,
	.copy_rows = cuda_copy_rows,
	.mark = cuda_mark,
	.wait = cuda_wait,
	.transform = cuda_transform,
	.copy_out = cuda_copy_out,
};
