/* SPDX-License-Identifier: Apache-2.0 */
/* The most that the link to the GPU carries: copies from pinned host memory, which no load can
 * beat.
 *
 *   copyrate BYTES [CHUNK_BYTES]
 *
 * Staging as wload has it (huge pages, registered), but never filled: two streams copy from it in
 * turn until BYTES went over. Prints one JSON object: device, bytes, seconds. */

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define EXIT_USAGE    2
#define STREAMS	      2
#define CHUNK_DEFAULT ((size_t)16 << 20)

struct copies {
	size_t chunk_bytes;
	unsigned char *host, *device;
	cudaStream_t stream[STREAMS];
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(cudaError_t e, const char *call)
{
	if (e == cudaSuccess)
		return;
	(void)fprintf(stderr, "copyrate: %s: %s\n", call, cudaGetErrorString(e));
	exit(EXIT_FAILURE);
}

static void prepare(struct copies *copies)
{
	size_t bytes = STREAMS * copies->chunk_bytes;

	copies->host =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copies->host == MAP_FAILED) {
		perror("copyrate: mmap");
		exit(EXIT_FAILURE);
	}
	(void)madvise(copies->host, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < bytes; i += 4096)
		copies->host[i] = 1;
	must(cudaHostRegister(copies->host, bytes, cudaHostRegisterDefault), "cudaHostRegister");
	must(cudaMalloc((void **)&copies->device, bytes), "cudaMalloc");
	for (int i = 0; i < STREAMS; i++)
		must(cudaStreamCreateWithFlags(&copies->stream[i], cudaStreamNonBlocking),
		     "cudaStreamCreateWithFlags");
}

/* Returns the bytes copied: whole chunks. */
static unsigned long long copy(struct copies *copies, unsigned long long bytes)
{
	unsigned long long done = 0;

	for (int i = 0; done < bytes; i = (i + 1) % STREAMS) {
		size_t at = (size_t)i * copies->chunk_bytes;

		must(cudaMemcpyAsync(copies->device + at, copies->host + at, copies->chunk_bytes,
				     cudaMemcpyHostToDevice, copies->stream[i]),
		     "cudaMemcpyAsync");
		done += copies->chunk_bytes;
	}
	must(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
	return done;
}

int main(int argc, char **argv)
{
	struct copies copies = {.chunk_bytes = CHUNK_DEFAULT};
	struct cudaDeviceProp device;
	unsigned long long bytes;
	double begin;

	if (argc == 3)
		copies.chunk_bytes = (size_t)strtoull(argv[2], NULL, 10);
	if (argc < 2 || argc > 3 || copies.chunk_bytes == 0) {
		(void)fprintf(stderr, "usage: copyrate BYTES [CHUNK_BYTES]\n");
		return EXIT_USAGE;
	}
	must(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
	prepare(&copies);
	(void)copy(&copies, 4 * copies.chunk_bytes); /* the first ones wake the link */
	begin = now();
	bytes = copy(&copies, strtoull(argv[1], NULL, 10));
	printf("{\"device\":\"%s\",\"bytes\":%llu,\"seconds\":%.6f}\n", device.name, bytes,
	       now() - begin);
	return 0;
}
