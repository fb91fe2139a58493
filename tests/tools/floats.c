/* SPDX-License-Identifier: Apache-2.0 */
/* Small floats between stdin and stdout, for others to compare with
 * (tests/oracles/floats_agree.py).
 *
 *   floats read FORMAT    elements (E2M1: two a byte) to F32
 *   floats write FORMAT   F32 to elements (E2M1: one a byte)
 *
 * FORMAT is F32, F16, BF16, F8_E4M3, E8M0 (read only) or E2M1. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "loader/transform/floats.h"

#define EXIT_USAGE 2

static const struct format {
	const char *name;
	enum wload_dtype dtype;
	unsigned int halves; /* of a byte, of one element */
} formats[] = {
	{"F32", WLOAD_DTYPE_F32, 8},	  {"F16", WLOAD_DTYPE_F16, 4},
	{"BF16", WLOAD_DTYPE_BF16, 4},	  {"F8_E4M3", WLOAD_DTYPE_F8_E4M3, 2},
	{"E8M0", WLOAD_DTYPE_F8_E8M0, 2}, {"E2M1", WLOAD_DTYPE_F4, 1},
};

static const struct format *find(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

static void read_all(const struct format *format)
{
	uint8_t bytes[4096];
	float values[2 * sizeof(bytes)];
	size_t n, count;

	while ((n = fread(bytes, 1, sizeof(bytes), stdin)) > 0) {
		count = 2 * n / format->halves;
		floats_read(format->dtype, bytes, 0, format->halves, count, values);
		(void)fwrite(values, sizeof(float), count, stdout);
	}
}

static void write_all(const struct format *format)
{
	uint8_t bytes[4096] = {0};
	float values[1024];
	size_t n, width = format->halves > 2 ? format->halves / 2 : 1;

	while ((n = fread(values, sizeof(float), 1024, stdin)) > 0) {
		if (width > 1)
			floats_write(format->dtype, values, n, bytes, 0, format->halves);
		for (size_t i = 0; width == 1 && i < n; i++)
			bytes[i] = format->dtype == WLOAD_DTYPE_F4 ? e2m1_round(values[i])
								   : f8e4m3_round(values[i]);
		(void)fwrite(bytes, width, n, stdout);
	}
}

int main(int argc, char **argv)
{
	const struct format *format = argc == 3 ? find(argv[2]) : NULL;
	bool writes = format && strcmp(argv[1], "write") == 0;

	if (!format || (!writes && strcmp(argv[1], "read") != 0) ||
	    (writes && format->dtype == WLOAD_DTYPE_F8_E8M0)) {
		(void)fprintf(stderr, "usage: floats read|write F32|F16|BF16|F8_E4M3|E8M0|E2M1\n");
		return EXIT_USAGE;
	}
	if (writes)
		write_all(format);
	else
		read_all(format);
	return fflush(stdout) ? 1 : 0;
}
