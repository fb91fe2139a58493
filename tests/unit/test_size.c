/* SPDX-License-Identifier: Apache-2.0 */
/* loader/base/size: sizes and intervals as people write them. */

#include "loader/base/size.h"
#include "tap.h"

static const struct {
	const char *s;
	bool want;
	uint64_t bytes;
} sizes[] = {
	{"0", true, 0},
	{"4096", true, 4096},
	{"1K", true, 1 << 10},
	{"64k", true, 64 << 10},
	{"3M", true, 3 << 20},
	{"2GiB", true, UINT64_C(2) << 30},
	{"2GB", true, UINT64_C(2) << 30},
	{"5B", true, 5},
	{"1T", true, UINT64_C(1) << 40},
	{"18446744073709551615", true, UINT64_MAX},
	{"18446744073709551616", false, 0},
	{"16777216T", false, 0},
	{"", false, 0},
	{"K", false, 0},
	{"-1", false, 0},
	{"+1", false, 0},
	{" 1", false, 0},
	{"1 K", false, 0},
	{"1.5G", false, 0},
	{"1KK", false, 0},
	{"1iB", false, 0},
	{"0x10", false, 0},
};

static const struct {
	const char *s;
	bool want;
	uint64_t ms;
} intervals[] = {
	{"0", true, 0},
	{"2", true, 2000},
	{"0.5", true, 500},
	{"1.125", true, 1125},
	{"1.05", true, 1050},
	{"3600.000", true, 3600000},
	{"18446744073709551.615", true, UINT64_MAX},
	{"18446744073709551.616", false, 0},
	{"18446744073709552", false, 0},
	{"1.1255", false, 0},
	{"1.", false, 0},
	{".5", false, 0},
	{"", false, 0},
	{"-1", false, 0},
	{"1s", false, 0},
	{"1.5.5", false, 0},
	{"nan", false, 0},
};

static void check_intervals(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		uint64_t got = 77;
		bool r = seconds_parse(intervals[i].s, &got);

		ok(tap, r == intervals[i].want && got == (r ? intervals[i].ms : 77),
		   "seconds: '%s'", intervals[i].s);
	}
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = 0;

		ok(&tap, size_parse(sizes[i].s, &n) == sizes[i].want && n == sizes[i].bytes,
		   "size '%s'", sizes[i].s);
	}
	check_intervals(&tap);
	return tap_done(&tap);
}
