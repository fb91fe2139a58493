/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/units: numbers and names as people read them. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/units.h"
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
	uint64_t bytes;
	const char *want;
} bytes_rows[] = {
	{0, "0 B"},	     {999, "999 B"},	       {1000, "1.00 kB"},	{9994, "9.99 kB"},
	{9995, "10.0 kB"},   {99949, "99.9 kB"},       {99950, "100 kB"},	{999499, "999 kB"},
	{999500, "1.00 MB"}, {15400000000, "15.4 GB"}, {UINT64_MAX, "18.4 EB"},
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

static const struct {
	double seconds;
	const char *want;
} seconds_rows[] = {
	{0, "0.0 ms"},	     {-1, "0.0 ms"},	{0.0015, "1.5 ms"},	  {0.424, "0.42 s"},
	{12.34, "12.3 s"},   {59.94, "59.9 s"}, {59.96, "1:00"},	  {245, "4:05"},
	{3599.7, "1:00:00"}, {3723, "1:02:03"}, {1e300, "1000000:00:00"},
};

static const struct {
	const char *name, *in, *want;
} names[] = {
	{"plain", "model.norm", "model.norm"},
	{"UTF-8", "modèle.é", "modèle.é"},
	{"escape sequence", "a\033[2Jb", "a\\x1b[2Jb"},
	{"newline", "a\nb", "a\\x0ab"},
	{"DEL", "\x7f", "\\x7f"},
	{"NUL, held as C0 80", "a\xc0\x80z", "a\\x00z"},
	{"8-bit CSI",
	 "\xc2\x9b"
	 "2J",
	 "\\xc2\\x9b2J"},
};

static void check_intervals(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		uint64_t got = 77;
		bool r = units_parse_seconds(intervals[i].s, &got);

		ok(tap, r == intervals[i].want && got == (r ? intervals[i].ms : 77),
		   "seconds: '%s'", intervals[i].s);
	}
}

int main(void)
{
	struct tap tap = {0};
	char got[UNITS_MAX];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t n = 0;

		ok(&tap, units_parse_size(sizes[i].s, &n) == sizes[i].want && n == sizes[i].bytes,
		   "size '%s'", sizes[i].s);
	}
	for (size_t i = 0; i < sizeof(bytes_rows) / sizeof(bytes_rows[0]); i++) {
		units_bytes(bytes_rows[i].bytes, got);
		ok(&tap, !strcmp(got, bytes_rows[i].want), "bytes: %s", got);
	}
	for (size_t i = 0; i < sizeof(seconds_rows) / sizeof(seconds_rows[0]); i++) {
		units_seconds(seconds_rows[i].seconds, got);
		ok(&tap, !strcmp(got, seconds_rows[i].want), "seconds: %s", got);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct text text CLEANUP(text_free) = {0};

		units_name(&text, names[i].in);
		ok(&tap, !strcmp(text.s, names[i].want), "name: %s", names[i].name);
	}
	check_intervals(&tap);
	return tap_done(&tap);
}
