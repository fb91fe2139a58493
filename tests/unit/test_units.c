/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/units: numbers and names as people read them. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/units.h"
#include "tap.h"

static const struct {
	uint64_t bytes;
	const char *want;
} bytes_rows[] = {
	{0, "0 B"},	     {999, "999 B"},	       {1000, "1.00 kB"},	{9994, "9.99 kB"},
	{9995, "10.0 kB"},   {99949, "99.9 kB"},       {99950, "100 kB"},	{999499, "999 kB"},
	{999500, "1.00 MB"}, {15400000000, "15.4 GB"}, {UINT64_MAX, "18.4 EB"},
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

int main(void)
{
	struct tap tap = {0};
	char got[UNITS_MAX];

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
	return tap_done(&tap);
}
