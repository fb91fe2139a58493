/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_NUMBERS_H
#define WLOAD_CLI_NUMBERS_H

/* The numbers of a mount's stats.json, whichever it has, as cells of a table. Pure. */

#include <stddef.h>
#include <stdint.h>

#include "loader/base/text.h"
#include "wloadfs/error.h"

/* What the whole is about; a member that is missing is 0. */
struct numbers_sum {
	uint64_t tensors, consumed_tensors;
	uint64_t bytes, consumed_bytes;
	uint64_t resident_bytes; /* UINT64_MAX: not known */
	uint64_t rank, ranks;	 /* rank is UINT64_MAX at the root */
};

#define NUMBERS_LABEL_MAX 48
#define NUMBERS_VALUE_MAX 24

struct number {
	char label[NUMBERS_LABEL_MAX]; /* "evicted", "budget limit" */
	char value[NUMBERS_VALUE_MAX]; /* "1.20 GB", "42", "-" */
};

struct numbers {
	struct numbers_sum sum;
	struct number *cells; /* whole numbers of the object and of objects in it, in their order;
			       * null too, where the name is one of bytes */
	size_t count, cap;
	struct text claims; /* "30 30 0 12": tensors that each rank still claims; may be empty */
};

/* Returns 0, -EBADMSG or -ENOMEM; numbers_free() either way. */
int numbers_parse(const char *json, struct numbers *ret_numbers, struct wload_error *err);
void numbers_free(struct numbers *numbers);

#endif
