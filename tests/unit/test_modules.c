/* SPDX-License-Identifier: Apache-2.0 */
/* fs/modules.c: names with dots as a tree; every entry that a walk shows is found by its name. */

#include <stdlib.h>
#include <string.h>

#include "fs/modules.h"
#include "make_inventory.h"
#include "tap.h"

struct walk {
	char paths[4096]; /* "path\n" for each tensor, "path/\n" for each folder, in order */
	bool found;	  /* every entry was found by name too */
};

static void walk_folder(const struct modules *m, uint32_t folder, const char *path,
			struct walk *walk)
{
	struct module_entry entry, again;
	char below[1024];

	for (uint32_t at = 0; modules_entry(m, folder, at, &entry); at = entry.next) {
		(void)snprintf(below, sizeof(below), "%s%s%s", path, entry.file,
			       entry.module == MODULE_NONE ? "" : "/");
		strncat(walk->paths, below, sizeof(walk->paths) - strlen(walk->paths) - 2);
		strcat(walk->paths, "\n");
		if (modules_find(m, folder, entry.file, &again) < 0 ||
		    again.module != entry.module || strcmp(again.file, entry.file) != 0 ||
		    (entry.module == MODULE_NONE && again.tensor != entry.tensor))
			walk->found = false;
		if (entry.module != MODULE_NONE)
			walk_folder(m, entry.module, below, walk);
	}
}

static const struct {
	const char *name;
	struct made_tensor tensor[8];
	size_t count;
	const char *want;
} rows[] = {
	{"no tensors: an empty folder", {{0}}, 0, ""},
	{"a name without dots is a file", {{"bias", 1}}, 1, "bias\n"},
	{"dots are folders",
	 {{"model.layers.0.w", 1}, {"model.layers.1.w", 1}, {"model.norm.w", 1}, {"lm_head.w", 1}},
	 4,
	 "lm_head/\nlm_head/w\nmodel/\nmodel/layers/\nmodel/layers/0/\nmodel/layers/0/w\n"
	 "model/layers/1/\nmodel/layers/1/w\nmodel/norm/\nmodel/norm/w\n"},
	{"a tensor keeps its name, the folder of that name gets a dot",
	 {{"a.weight", 1}, {"a.weight.absmax", 1}, {"a.weight-x", 1}},
	 3,
	 "a/\na/weight\na/weight-x\na/weight./\na/weight./absmax\n"},
	{"empty components are '%'",
	 {{"", 1}, {"a..b", 1}, {".c", 1}},
	 3,
	 "%\n%./\n%./c\na/\na/%/\na/%/b\n"},
	{"a prefix that is no folder is not one",
	 {{"ab.x", 1}, {"a.x", 1}, {"abc.x", 1}},
	 3,
	 "a/\na/x\nab/\nab/x\nabc/\nabc/x\n"},
	{"slashes and control bytes are spelled",
	 {{"a/b.c\n", 1}, {"%.d", 1}},
	 2,
	 "%25/\n%25/d\na%2Fb/\na%2Fb/c%0A\n"},
};

static void test_trees(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wload_inventory *inv = make_inventory(rows[i].tensor, rows[i].count);
		struct walk walk = {.found = true};
		struct modules m;

		if (!ok(tap, modules_build(inv, &m) == 0, "%s: builds", rows[i].name))
			continue;
		walk_folder(&m, 0, "", &walk);
		if (!ok(tap, strcmp(walk.paths, rows[i].want) == 0, "%s", rows[i].name))
			printf("# got:\n%s", walk.paths);
		ok(tap, walk.found, "%s: every entry is found by name", rows[i].name);
		modules_free(&m);
		inventory_free(inv);
	}
}

static void test_absent(struct tap *tap)
{
	static const struct made_tensor tensors[] = {{"a.b.c", 1}, {"a.b.d", 1}};
	static const char *const absent[] = {"b",    "a.", "a.b", "a.b.c", "",	 "%",
					     "a%2E", ".",  "..",  "aa",	   "%61"};
	struct wload_inventory *inv = make_inventory(tensors, 2);
	struct module_entry entry;
	struct modules m;

	modules_build(inv, &m);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		ok(tap, modules_find(&m, 0, absent[i], &entry) < 0, "'%s' is not there", absent[i]);
	modules_free(&m);
	inventory_free(inv);
}

/* A component over 255 bytes is shortened and still found. */
static void test_long(struct tap *tap)
{
	char name[400];
	struct made_tensor tensor = {name, 1};
	struct wload_inventory *inv;
	struct walk walk = {.found = true};
	struct modules m;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	name[300] = '.';
	inv = make_inventory(&tensor, 1);
	modules_build(inv, &m);
	walk_folder(&m, 0, "", &walk);
	ok(tap, walk.found, "a component of 300 bytes is found by its shortened name");
	modules_free(&m);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	test_trees(&tap);
	test_absent(&tap);
	test_long(&tap);
	return tap_done(&tap);
}
