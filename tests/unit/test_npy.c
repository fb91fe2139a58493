/* SPDX-License-Identifier: Apache-2.0 */
/* fs/npy.c: headers against what numpy.lib.format writes, and their length computed without them.
 */

#include <stdlib.h>
#include <string.h>

#include "fs/npy.h"
#include "tap.h"

static const struct {
	const char *name;
	enum wload_dtype dtype;
	uint32_t rank;
	uint64_t shape[4];
	const char *dict;
} rows[] = {
	{"a scalar",
	 WLOAD_DTYPE_F32,
	 0,
	 {0},
	 "{'descr': '<f4', 'fortran_order': False, 'shape': (), }"},
	{"a vector has a comma",
	 WLOAD_DTYPE_I64,
	 1,
	 {3},
	 "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }"},
	{"a matrix",
	 WLOAD_DTYPE_F16,
	 2,
	 {3, 4},
	 "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }"},
	{"BF16 as its bits",
	 WLOAD_DTYPE_BF16,
	 1,
	 {0},
	 "{'descr': '<u2', 'fortran_order': False, 'shape': (0,), }"},
	{"an 8-bit float as its bits",
	 WLOAD_DTYPE_F8_E4M3,
	 3,
	 {1, 2, 12345678901},
	 "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 12345678901), }"},
	{"a bool",
	 WLOAD_DTYPE_BOOL,
	 1,
	 {9},
	 "{'descr': '|b1', 'fortran_order': False, 'shape': (9,), }"},
};

static void test_headers(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wload_tensor t = {
			.dtype = rows[i].dtype, .rank = rows[i].rank, .shape = rows[i].shape};
		size_t len = 0;
		char *header = npy_header(&t, &len);
		size_t stated = header ? (unsigned char)header[8] | (size_t)(unsigned char)header[9]
									    << 8
				       : 0;

		ok(tap,
		   header && len % 64 == 0 && memcmp(header, "\x93NUMPY\x01\x00", 8) == 0 &&
			   stated == len - 10 && header[len - 1] == '\n',
		   "%s: magic, length and padding", rows[i].name);
		ok(tap, header && strncmp(header + 10, rows[i].dict, strlen(rows[i].dict)) == 0,
		   "%s: dict", rows[i].name);
		ok(tap, npy_header_len(&t) == len, "%s: length without it", rows[i].name);
		free(header);
	}
}

/* Version 2.0, where the dict is over 65,535 bytes, and the lengths around the border. */
static void test_long_shapes(struct tap *tap)
{
	static uint64_t shape[30000];
	bool lengths = true, versions = true;

	for (uint32_t rank = 21700; rank < 21900; rank++) {
		struct wload_tensor t = {.dtype = WLOAD_DTYPE_U8, .rank = rank, .shape = shape};
		size_t len;
		char *header = npy_header(&t, &len);

		lengths = lengths && header && len == npy_header_len(&t) && len % 64 == 0;
		versions = versions && header && header[6] == (len - 10 > 65535 ? 2 : 1);
		free(header);
	}
	ok(tap, lengths, "lengths agree around 65,535 bytes");
	ok(tap, versions, "version 2.0 exactly where the header needs it");
}

static void test_impossible(struct tap *tap)
{
	ok(tap,
	   !npy_possible(WLOAD_DTYPE_F4) && !npy_possible(WLOAD_DTYPE_F6_E2M3) &&
		   !npy_possible(WLOAD_DTYPE_F6_E3M2),
	   "F4 and F6 have no .npy");
}

int main(void)
{
	struct tap tap = {0};

	test_headers(&tap);
	test_long_shapes(&tap);
	test_impossible(&tap);
	return tap_done(&tap);
}
