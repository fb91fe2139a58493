/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/way.c: the way to read a range, by what is true of it. */

#include "loader/pipeline/way.h"
#include "tap.h"

static const struct row {
	const char *name;
	struct way_facts facts; /* asked, direct, known, pages, resident */
	enum way want;
} rows[] = {
	{"all cached", {WLOAD_IO_AUTO, true, true, 512, 512}, WAY_CACHED},
	{"nothing cached", {WLOAD_IO_AUTO, true, true, 512, 0}, WAY_DIRECT},
	{"one page missing", {WLOAD_IO_AUTO, true, true, 512, 511}, WAY_DROP},
	{"half is cached", {WLOAD_IO_AUTO, true, true, 512, 256}, WAY_DROP},
	{"less than half is cached", {WLOAD_IO_AUTO, true, true, 512, 255}, WAY_DIRECT},
	{"one page, not cached", {WLOAD_IO_AUTO, true, true, 1, 0}, WAY_DIRECT},
	{"nothing cached, no O_DIRECT", {WLOAD_IO_AUTO, false, true, 512, 0}, WAY_DROP},
	{"all cached, no O_DIRECT", {WLOAD_IO_AUTO, false, true, 512, 512}, WAY_CACHED},
	{"nobody knows", {WLOAD_IO_AUTO, true, false, 512, 0}, WAY_DIRECT},
	{"nobody knows, no O_DIRECT", {WLOAD_IO_AUTO, false, false, 512, 0}, WAY_DROP},
	{"buffered, as asked", {WLOAD_IO_BUFFERED, true, true, 512, 0}, WAY_CACHED},
	{"direct, as asked", {WLOAD_IO_DIRECT, true, true, 512, 512}, WAY_DIRECT},
	{"direct, refused meanwhile", {WLOAD_IO_DIRECT, false, true, 512, 512}, WAY_DROP},
};

static const struct gap_row {
	const char *name;
	enum way way;
	uint64_t piece, stride;
	bool want;
} gap_rows[] = {
	{"small pieces close together, cached", WAY_CACHED, 128, 1024, true},
	{"o_proj of 8 ranks, cached", WAY_CACHED, 2048, 16384, false},
	{"o_proj of 8 ranks, from the disk", WAY_DIRECT, 2048, 16384, true},
	{"down_proj of 8 ranks, from the disk", WAY_DIRECT, 7168, 57344, false},
	{"pieces far apart, from the disk", WAY_DIRECT, 65536, 262144, false},
};

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(&tap, way_choose(&rows[i].facts) == rows[i].want, "way: %s", rows[i].name);
	for (size_t i = 0; i < sizeof(gap_rows) / sizeof(gap_rows[0]); i++)
		ok(&tap,
		   way_reads_gaps(gap_rows[i].way, gap_rows[i].piece, gap_rows[i].stride) ==
			   gap_rows[i].want,
		   "gaps: %s", gap_rows[i].name);
	return tap_done(&tap);
}
