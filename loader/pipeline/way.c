/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/pipeline/way.h"

/* A read of cached bytes takes about as long as copying this much more (a third of a microsecond
 * at 10 GB/s); one from a disk as this much more at 1-2 GB/s, with sixteen reads in flight. */
#define GAP_CACHED_BYTES UINT64_C(4096)
#define GAP_DISK_BYTES	 (UINT64_C(32) << 10)

enum way way_choose(const struct way_facts *facts)
{
	if (facts->asked == WLOAD_IO_BUFFERED)
		return WAY_CACHED;
	if (facts->asked == WLOAD_IO_DIRECT)
		return facts->direct ? WAY_DIRECT : WAY_DROP;
	if (facts->known && facts->resident >= facts->pages)
		return WAY_CACHED;
	if (!facts->direct || (facts->known && facts->resident >= facts->pages - facts->pages / 2))
		return WAY_DROP;
	return WAY_DIRECT;
}

bool way_reads_gaps(enum way way, uint64_t piece, uint64_t stride)
{
	return stride - piece < (way == WAY_CACHED ? GAP_CACHED_BYTES : GAP_DISK_BYTES);
}
