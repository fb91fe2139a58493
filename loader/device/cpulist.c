/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdlib.h>

#include "loader/device/cpulist.h"

/* Reads one number or range; returns what is behind it, or NULL. */
static const char *parse_range(const char *p, cpu_set_t *cpus)
{
	char *end;
	unsigned long first, last;

	if (!isdigit((unsigned char)*p))
		return NULL;
	first = last = strtoul(p, &end, 10);
	if (*end == '-') {
		if (!isdigit((unsigned char)end[1]))
			return NULL;
		last = strtoul(end + 1, &end, 10);
	}
	if (last < first)
		return NULL;
	for (unsigned long i = first; i <= last && i < CPU_SETSIZE; i++)
		CPU_SET(i, cpus);
	return end;
}

bool cpulist_parse(const char *text, cpu_set_t *ret_cpus)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	while (text && *text && *text != '\n') {
		text = parse_range(text, &cpus);
		if (text && *text == ',')
			text++;
		else if (text && *text && *text != '\n')
			return false;
	}
	if (!text)
		return false;
	*ret_cpus = cpus;
	return true;
}
