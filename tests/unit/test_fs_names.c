/* SPDX-License-Identifier: Apache-2.0 */
/* fs/names.c: file names of tensors/ and npy/ lead back to their tensors, long ones too. */

#include <string.h>

#include "fs/names.h"
#include "loader/checkpoint/names.h"
#include "make_inventory.h"
#include "tap.h"

static char long_name[300], longer_name[400], edge_name[253];

static const struct made_tensor tensors[] = {
	{"plain.weight", 1}, {"a/b", 1},     {"", 1},	       {".", 1},
	{"..", 1},	     {"100%", 1},    {"new\nline", 1}, {"nul\xc0\x80", 1},
	{"x.npy", 1},	     {long_name, 1}, {longer_name, 1}, {edge_name, 1},
};
#define TENSORS (sizeof(tensors) / sizeof(tensors[0]))

int main(void)
{
	static const char *const suffixes[] = {"", NPY_SUFFIX};
	static const char *const absent[] = {
		"plain", "a%2fb", "%2E%2E%2E",	   ".",
		"..",	 "100%",  "x.npy.npy.npy", "%~0123456789abcdef"};
	struct tap tap = {0};
	struct wload_inventory *inv;
	struct names names;
	uint32_t found;

	memset(long_name, 'l', sizeof(long_name) - 1);
	memset(longer_name, '\n', sizeof(longer_name) - 1);
	memset(edge_name, 'e', sizeof(edge_name) - 1); /* fits, and with .npy does not */
	inv = make_inventory(tensors, TENSORS);
	if (!ok(&tap, names_build(inv, &names, NULL) == 0, "builds"))
		return tap_done(&tap);
	ok(&tap, names.shortened_count == 5, "only what is over 255 bytes is shortened (%u)",
	   names.shortened_count);
	for (uint32_t i = 0; i < TENSORS; i++)
		for (size_t s = 0; s < 2; s++) {
			struct wload_tensor t = wload_inventory_tensor(inv, i);
			char file[256];
			int len = name_to_file(t.name, strlen(t.name), suffixes[s], file);

			ok(&tap,
			   len <= 255 &&
				   names_find(&names, file, (size_t)len, suffixes[s], &found) ==
					   0 &&
				   found == i,
			   "'%.40s' is found", file);
		}
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		ok(&tap, names_find(&names, absent[i], strlen(absent[i]), "", &found) < 0,
		   "'%s' is not there", absent[i]);
	names_free(&names);
	inventory_free(inv);
	return tap_done(&tap);
}
