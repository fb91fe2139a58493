/* SPDX-License-Identifier: Apache-2.0 */
/* loader/device/cpulist.c: lists of processors; numa.c: folders that look like /sys. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/device/cpulist.h"
#include "loader/device/numa.h"
#include "tap.h"

static const struct list_row {
	const char *text;
	int count; /* -1: refused */
	int holds; /* one that must be there, */
	int lacks; /* and one that must not */
} list_rows[] = {
	{"0\n", 1, 0, 1},   {"0-3\n", 4, 3, 4},	 {"0-3,8,10-11\n", 7, 10, 9}, {"\n", 0, -1, 0},
	{"", 0, -1, 0},	    {"7", 1, 7, 0},	 {"1020-1030\n", 4, 1023, 0}, {"3-1\n", -1, -1, 0},
	{"a\n", -1, -1, 0}, {"1-\n", -1, -1, 0}, {"1;2\n", -1, -1, 0},	      {"-1\n", -1, -1, 0},
};

struct world {
	char root[64];
};

static void put(const struct world *w, const char *path, const char *text)
{
	char full[256], command[600];
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s/%s", w->root, path);
	(void)snprintf(command, sizeof(command), "mkdir -p \"$(dirname '%s')\"", full);
	if (system(command) != 0)
		return;
	f = fopen(full, "w");
	if (f) {
		(void)fputs(text, f);
		(void)fclose(f);
	}
}

static const struct near_row {
	const char *name;
	const char *online, *node; /* of the device */
	int allowed_first, allowed_last;
	int count; /* 0: nothing is nearer */
} near_rows[] = {
	{"the second of two nodes", "0-1\n", "1\n", 0, 15, 8},
	{"one node", "0\n", "0\n", 0, 15, 0},
	{"the device's node is not known", "0-1\n", "-1\n", 0, 15, 0},
	{"some of its processors are allowed", "0-1\n", "1\n", 0, 8, 5},
	{"too few of them are", "0-1\n", "1\n", 0, 6, 0},
	{"none of them is", "0-1\n", "1\n", 0, 3, 0},
};

static void check_near(struct tap *tap, const struct world *w, const struct near_row *row)
{
	cpu_set_t allowed, cpus;
	bool found;

	put(w, "devices/system/node/online", row->online);
	put(w, "bus/pci/devices/0000:1a:00.0/numa_node", row->node);
	CPU_ZERO(&allowed);
	CPU_ZERO(&cpus);
	for (int i = row->allowed_first; i <= row->allowed_last; i++)
		CPU_SET((size_t)i, &allowed);
	found = numa_cpus_near(w->root, "0000:1A:00.0", &allowed, &cpus);
	ok(tap, found == (row->count > 0) && CPU_COUNT(&cpus) == row->count, "near: %s", row->name);
}

int main(void)
{
	struct world w = {.root = "/tmp/numa.XXXXXX"};
	struct tap tap = {0};
	char command[128];

	for (size_t i = 0; i < sizeof(list_rows) / sizeof(list_rows[0]); i++) {
		const struct list_row *row = &list_rows[i];
		cpu_set_t cpus;
		bool parsed = cpulist_parse(row->text, &cpus);

		ok(&tap,
		   parsed == (row->count >= 0) &&
			   (!parsed || (CPU_COUNT(&cpus) == row->count &&
					(row->holds < 0 || CPU_ISSET((size_t)row->holds, &cpus)) &&
					!CPU_ISSET((size_t)row->lacks, &cpus))),
		   "list: '%.*s'", (int)strcspn(row->text, "\n"), row->text);
	}
	if (ok(&tap, mkdtemp(w.root) != NULL, "a folder like /sys")) {
		put(&w, "devices/system/node/node0/cpulist", "0-3\n");
		put(&w, "devices/system/node/node1/cpulist", "4-11\n");
		for (size_t i = 0; i < sizeof(near_rows) / sizeof(near_rows[0]); i++)
			check_near(&tap, &w, &near_rows[i]);
		(void)snprintf(command, sizeof(command), "rm -r '%s'", w.root);
		ok(&tap, system(command) == 0, "the folder is gone");
	}
	return tap_done(&tap);
}
