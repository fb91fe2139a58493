/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_NUMA_H
#define WLOAD_NUMA_H

/* Which processors are near a device, on machines with several memory nodes: staging that lies on
 * another node than the GPU crosses the link between them twice. */

#include <sched.h>
#include <stdbool.h>

/* Finds the processors on a PCI device's node.
 *
 * sysfs    "/sys", or a folder like it
 * pci      "0000:17:00.0"; capital letters are fine
 * allowed  what the process may run on
 *
 * Returns true when the machine has several nodes, the device's is known, and enough of its
 * processors are allowed to copy with; else nothing is better than anything else. */
bool numa_cpus_near(const char *sysfs, const char *pci, const cpu_set_t *allowed,
		    cpu_set_t *ret_cpus);

#endif
