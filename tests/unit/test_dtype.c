/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "tap.h"
#include "wloadfs/tensor.h"

static const struct {
	const char *name;
	unsigned int bits;
	const char *numpy;
	uint8_t dlpack;
} known[] = {
	{"BOOL", 8, "|b1", 6},	   {"F4", 4, NULL, 17},	      {"F6_E2M3", 6, NULL, 15},
	{"F8_E4M3", 8, "|u1", 10}, {"F8_E8M0", 8, "|u1", 14}, {"BF16", 16, "<u2", 4},
	{"F32", 32, "<f4", 2},	   {"C64", 64, "<c8", 5},     {"U64", 64, "<u8", 1},
};

static const char *const unknown[] = {"F8_E4M3FN", "C128", "I4", "bf16", "", "BF1", "BF166"};

int main(void)
{
	const struct wload_dtype_desc *desc;
	enum wload_dtype dtype;
	struct tap tap = {0};
	size_t i;
	bool same;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		same = wload_dtype_parse(known[i].name, &dtype) == 0;
		desc = same ? wload_dtype_describe(dtype) : NULL;
		same = same && strcmp(desc->name, known[i].name) == 0 &&
		       desc->bits == known[i].bits && desc->dlpack == known[i].dlpack &&
		       !desc->numpy == !known[i].numpy &&
		       (!desc->numpy || strcmp(desc->numpy, known[i].numpy) == 0);
		ok(&tap, same, "%s is described", known[i].name);
	}
	for (i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		ok(&tap, wload_dtype_parse(unknown[i], &dtype) == -EOPNOTSUPP, "'%s' is unknown",
		   unknown[i]);
	for (i = 0, same = true; i < WLOAD_DTYPE_COUNT; i++)
		same = same &&
		       wload_dtype_parse(wload_dtype_describe((enum wload_dtype)i)->name, &dtype) ==
			       0 &&
		       dtype == (enum wload_dtype)i;
	ok(&tap, same, "every type has its own name");
	return tap_done(&tap);
}
