/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKED_H
#define WLOAD_CHECKED_H

/* Arithmetic on numbers from files: false, and nothing written, when the result does not fit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

/* Makes room for at least `need` elements in a growing array, doubling it.
 *
 * Returns false, with the array as it was, when memory is short. */
static inline bool grow_array(void *array, size_t *cap, size_t need, size_t element_bytes)
{
	size_t want = *cap ? *cap : 16, total;
	void *p;

	if (need <= *cap)
		return true;
	while (want < need)
		if (__builtin_mul_overflow(want, (size_t)2, &want))
			return false;
	if (__builtin_mul_overflow(want, element_bytes, &total))
		return false;
	p = realloc(*(void **)array, total);
	if (!p)
		return false;
	*(void **)array = p;
	*cap = want;
	return true;
}

#endif
