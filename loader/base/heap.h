/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_HEAP_H
#define WLOAD_HEAP_H

/* How a program of ours takes memory; a library has no say in that, so only main() calls this.
 *
 * glibc gives large blocks pages of their own, which grow without a copy and go when they are freed
 * (mallopt(3)). But whenever such a block is freed, it raises the size that counts as large to
 * that, up to 32 MiB: after a checkpoint's index was read, 17 MB of text, the tables that grow next
 * are copied within the heap and leave holes in it. A size that was set stays. Of 180,364 tensors
 * this is 6 MB. */

#include <malloc.h>

#define HEAP_LARGE_BYTES (128 << 10)

static inline void heap_return_large_blocks(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, HEAP_LARGE_BYTES);
}

#endif
