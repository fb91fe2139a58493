/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/inventory.h"
#include "loader/checkpoint/name_order.h"
#include "tap.h"

static const uint64_t matrix[] = {2, 3};

static struct wload_inventory *build(const struct wload_tensor *tensors, size_t count)
{
	struct wload_inventory *inv = inventory_new();
	size_t i;

	for (i = 0; i < count; i++)
		if (inventory_add(inv, &tensors[i], NULL) < 0)
			abort();
	return inv;
}

/* In an order that is neither that of the disk nor that of names. */
static const struct wload_tensor some[] = {
	{.name = "b.w",
	 .shape = matrix,
	 .rank = 2,
	 .dtype = WLOAD_DTYPE_U8,
	 .shard = 1,
	 .offset = 8,
	 .bytes = 6},
	{.name = "b.w.scale",
	 .rank = 0,
	 .dtype = WLOAD_DTYPE_F32,
	 .shard = 0,
	 .offset = 8,
	 .bytes = 4},
	{.name = "a",
	 .shape = matrix,
	 .rank = 2,
	 .dtype = WLOAD_DTYPE_BF16,
	 .shard = 0,
	 .offset = 12,
	 .bytes = 12},
	{.name = "zero",
	 .shape = (const uint64_t[]){0},
	 .rank = 1,
	 .dtype = WLOAD_DTYPE_I64,
	 .shard = 0,
	 .offset = 12,
	 .bytes = 0},
	{.name = "", .rank = 0, .dtype = WLOAD_DTYPE_BOOL, .shard = 2, .offset = 9, .bytes = 1},
	{.name = "b\xc0\x80",
	 .rank = 0,
	 .dtype = WLOAD_DTYPE_BOOL,
	 .shard = 2,
	 .offset = 8,
	 .bytes = 1},
};

static const char *const disk_order[] = {"b.w.scale", "zero", "a", "b.w", "b\xc0\x80", ""};
static const char *const name_order[] = {"", "a", "b.w", "b.w.scale", "b\xc0\x80", "zero"};

enum { SOME = sizeof(some) / sizeof(some[0]) };

static void test_orders(struct tap *tap, const struct wload_inventory *inv)
{
	struct wload_tensor t;
	bool by_disk = true, by_name = true;
	uint32_t i;

	for (i = 0; i < SOME; i++) {
		t = wload_inventory_tensor(inv, i);
		by_disk = by_disk && strcmp(t.name, disk_order[i]) == 0;
		t = wload_inventory_tensor(inv, wload_inventory_by_name(inv, i));
		by_name = by_name && strcmp(t.name, name_order[i]) == 0;
	}
	ok(tap, by_disk, "indexes are in disk order, empty tensors first");
	ok(tap, by_name, "name ranks are in bytewise order");
	ok(tap, wload_inventory_count(inv) == SOME && wload_inventory_bytes(inv) == 24,
	   "count and bytes are sums");
}

static void test_find(struct tap *tap, const struct wload_inventory *inv)
{
	struct wload_tensor t;
	uint32_t index, i;
	bool all = true;

	for (i = 0; i < SOME; i++) {
		all = all && wload_inventory_find(inv, some[i].name, &index) == 0;
		t = wload_inventory_tensor(inv, index);
		all = all && strcmp(t.name, some[i].name) == 0 && t.dtype == some[i].dtype &&
		      t.rank == some[i].rank && t.shard == some[i].shard &&
		      t.offset == some[i].offset && t.bytes == some[i].bytes &&
		      (t.rank == 0 || memcmp(t.shape, some[i].shape, t.rank * 8) == 0);
	}
	ok(tap, all, "every tensor is found as it was added");
	ok(tap, wload_inventory_find(inv, "b", &index) == -ENOENT, "a prefix is not a name");
	ok(tap, wload_inventory_find(inv, "zz", &index) == -ENOENT, "a name past the last");
}

static void test_prefix(struct tap *tap, const struct wload_inventory *inv)
{
	static const struct {
		const char *rule, *prefix;
		uint32_t first, end;
	} rows[] = {
		{"everything", "", 0, 6},	{"a module", "b.", 2, 4},
		{"nothing added", "b.w", 2, 4}, {"none between", "b.x", 4, 4},
		{"none behind", "zz", 6, 6},	{"one whole name", "zero", 5, 6},
	};
	uint32_t first, end;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		wload_inventory_prefix(inv, rows[i].prefix, strlen(rows[i].prefix), &first, &end);
		ok(tap, first == rows[i].first && end == rows[i].end, "prefix: %s", rows[i].rule);
	}
}

static void test_drop(struct tap *tap)
{
	struct wload_inventory *inv = build(some, SOME);
	uint8_t drop[SOME] = {0, 1, 0, 1, 0, 0}; /* zero and b.w */
	uint32_t pair[2], index;
	bool done = inventory_sort(inv, NULL) == 0 && inventory_drop(inv, drop, NULL) == 0 &&
		    inventory_seal(inv, pair, NULL) == 0;

	ok(tap, done && wload_inventory_count(inv) == 4 && wload_inventory_bytes(inv) == 18,
	   "drop: count and bytes shrink");
	ok(tap,
	   wload_inventory_find(inv, "zero", &index) == -ENOENT &&
		   wload_inventory_find(inv, "a", &index) == 0 && index == 1 &&
		   wload_inventory_find(inv, "", &index) == 0 && index == 3,
	   "drop: the rest moves up and is still found");
	inventory_free(inv);
}

static void test_twins(struct tap *tap)
{
	const struct wload_tensor twins[] = {
		{.name = "x", .shard = 3}, {.name = "y"}, {.name = "x"}};
	struct wload_inventory *inv = build(twins, 3);
	uint32_t pair[2] = {9, 9};

	ok(tap, inventory_seal(inv, pair, NULL) == -EEXIST && pair[0] == 0 && pair[1] == 2,
	   "seal names both tensors of one name");
	inventory_free(inv);
}

static int compare_refs(const void *a, const void *b)
{
	const struct name_ref *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : x->id < y->id ? -1 : x->id > y->id;
}

/* Names over two letters, of all lengths, so that prefixes, equal names and long runs abound. */
static void test_name_order(struct tap *tap)
{
	enum { COUNT = 3000, LONGEST = 400 };
	static char names[COUNT][LONGEST + 1];
	static struct name_ref got[COUNT], want[COUNT];
	uint32_t seed = 1, i;
	size_t k, len;

	for (i = 0; i < COUNT; i++) {
		seed = seed * 1664525 + 1013904223;
		len = (seed >> 16) % (i % 4 ? 20 : LONGEST);
		memset(names[i], 'a', len);
		for (k = len; k > 0 && len - k < 3; k--) {
			seed = seed * 1664525 + 1013904223;
			names[i][k - 1] = seed >> 30 ? 'a' : '\xff';
		}
		got[i] = want[i] = (struct name_ref){names[i], i, 0};
	}
	qsort(want, COUNT, sizeof(want[0]), compare_refs);
	name_order_sort(got, COUNT);
	for (i = 0; i < COUNT && got[i].id == want[i].id; i++)
		;
	ok(tap, i == COUNT, "names are sorted as strcmp would, equal ones by id");
}

int main(void)
{
	struct wload_inventory *inv = build(some, SOME), *empty = inventory_new();
	struct tap tap = {0};
	uint32_t pair[2], first, end;

	ok(&tap, inventory_seal(inv, pair, NULL) == 0, "distinct names seal");
	test_orders(&tap, inv);
	test_find(&tap, inv);
	test_prefix(&tap, inv);
	inventory_free(inv);
	test_drop(&tap);
	test_twins(&tap);
	test_name_order(&tap);
	ok(&tap, inventory_seal(empty, pair, NULL) == 0, "no tensors at all seal");
	wload_inventory_prefix(empty, "", 0, &first, &end);
	ok(&tap, first == 0 && end == 0 && wload_inventory_find(empty, "", &first) == -ENOENT,
	   "and none is found");
	inventory_free(empty);
	inventory_free(NULL);
	return tap_done(&tap);
}
