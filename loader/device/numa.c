/* SPDX-License-Identifier: Apache-2.0 */
/* Sysfs: Documentation/ABI/testing/sysfs-bus-pci (numa_node), stable/sysfs-devices-node (cpulist,
 * online). */

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/io.h"
#include "loader/device/cpulist.h"
#include "loader/device/numa.h"

#define LIST_MAX      4096
#define NEAR_CPUS_MIN 4 /* fewer would be kept from copying by sharing them */

__attribute__((format(printf, 2, 3))) static bool read_file(char *text, const char *format, ...)
{
	char path[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	return n > 0 && (size_t)n < sizeof(path) && io_read_text(path, text, LIST_MAX) > 0;
}

bool numa_cpus_near(const char *sysfs, const char *pci, const cpu_set_t *allowed,
		    cpu_set_t *ret_cpus)
{
	char text[LIST_MAX], name[32];
	cpu_set_t nodes, cpus;
	size_t i;
	long node;

	for (i = 0; pci[i] && i < sizeof(name) - 1; i++)
		name[i] = (char)tolower((unsigned char)pci[i]);
	name[i] = '\0';
	if (!read_file(text, "%s/devices/system/node/online", sysfs) ||
	    !cpulist_parse(text, &nodes) || CPU_COUNT(&nodes) < 2)
		return false;
	if (!read_file(text, "%s/bus/pci/devices/%s/numa_node", sysfs, name))
		return false;
	node = strtol(text, NULL, 10);
	if (node < 0 || !read_file(text, "%s/devices/system/node/node%ld/cpulist", sysfs, node) ||
	    !cpulist_parse(text, &cpus))
		return false;
	CPU_AND(&cpus, &cpus, allowed);
	if (CPU_COUNT(&cpus) < NEAR_CPUS_MIN)
		return false;
	*ret_cpus = cpus;
	return true;
}
