/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CPULIST_H
#define WLOAD_CPULIST_H

/* Lists of numbers as the kernel writes them: "0-3,8,10-11\n" (Linux lib/bitmap-str.c). Pure. */

#include <sched.h>
#include <stdbool.h>

/* Reads a list; numbers past CPU_SETSIZE are left out. Returns false when it is none. */
bool cpulist_parse(const char *text, cpu_set_t *ret_cpus);

#endif
