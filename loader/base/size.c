/* SPDX-License-Identifier: Apache-2.0 */
/* Reads numbers and sizes (size.h). */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loader/base/checked.h"
#include "loader/base/size.h"

static bool parse_digits(const char *s, uint64_t *ret, const char **ret_end)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno)
		return false;
	*ret = n;
	*ret_end = end;
	return true;
}

bool number_parse(const char *s, uint64_t *ret_number)
{
	const char *end;
	uint64_t n;

	if (!parse_digits(s, &n, &end) || *end)
		return false;
	*ret_number = n;
	return true;
}

bool size_parse(const char *s, uint64_t *ret_bytes)
{
	static const char suffixes[] = "KMGT";
	const char *end, *suffix;
	uint64_t n;

	if (!parse_digits(s, &n, &end))
		return false;
	suffix = *end ? strchr(suffixes, toupper((unsigned char)*end)) : NULL;
	if (suffix) {
		if (!checked_mul(n, UINT64_C(1) << (10 * (suffix - suffixes + 1)), &n))
			return false;
		end++;
		if (!strcasecmp(end, "iB"))
			end += 2;
	}
	if (!strcasecmp(end, "B"))
		end++;
	if (*end)
		return false;
	*ret_bytes = n;
	return true;
}

bool seconds_parse(const char *s, uint64_t *ret_ms)
{
	uint64_t ms, scale = 100;
	const char *end;

	if (!parse_digits(s, &ms, &end) || !checked_mul(ms, 1000, &ms))
		return false;
	if (*end == '.' && !isdigit((unsigned char)end[1]))
		return false;
	if (*end == '.')
		for (end++; isdigit((unsigned char)*end) && scale; end++, scale /= 10)
			if (!checked_add(ms, (uint64_t)(*end - '0') * scale, &ms))
				return false;
	if (*end)
		return false;
	*ret_ms = ms;
	return true;
}
