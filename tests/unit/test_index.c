/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "loader/checkpoint/index.h"
#include "loader/checkpoint/inventory.h"
#include "loader/checkpoint/placement.h"
#include "tap.h"

static const struct {
	const char *rule, *text;
	int want;
	const char *message;
} rows[] = {
	{"other members are ignored", "{\"metadata\":{\"x\":[]},\"weight_map\":{}}", 0, ""},
	{"no weight_map", "{}", -EBADMSG, "it has no member 'weight_map'"},
	{"two of them", "{\"weight_map\":{},\"weight_map\":{}}", -EBADMSG,
	 "it has two members 'weight_map'"},
	{"not an object", "[]", -EBADMSG, "it is not a JSON object"},
	{"a shard that is no string", "{\"weight_map\":{\"a\":1}}", -EBADMSG,
	 "the shard of tensor 'a' is not a string"},
	{"an empty shard", "{\"weight_map\":{\"a\":\"\"}}", -EBADMSG,
	 "'' can't be the name of a shard"},
	{"an absolute path", "{\"weight_map\":{\"a\":\"/x\"}}", -EOPNOTSUPP,
	 "the shard '/x' has an absolute path"},
	{"dotdot", "{\"weight_map\":{\"a\":\"x/../y\"}}", -EOPNOTSUPP,
	 "the shard 'x/../y' may be outside the folder"},
	{"twice the same", "{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}", 0, ""},
	{"twice and different", "{\"weight_map\":{\"a\":\"x\",\"b\":\"x\",\"a\":\"y\"}}", -EBADMSG,
	 "tensor 'a' is placed in 'x' and in 'y'"},
	{"broken JSON", "{\"weight_map\":{\"a\" \"x\"}}", -EBADMSG,
	 "invalid JSON at byte 19: expected ':'"},
};

static void test_parse(struct tap *tap)
{
	struct shard_index index;
	struct wload_error err;
	size_t i;
	int r;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		err = (struct wload_error){0};
		index = (struct shard_index){0};
		r = index_parse((const uint8_t *)rows[i].text, strlen(rows[i].text), &index, &err);
		if (!ok(tap, r == rows[i].want && strcmp(err.text, rows[i].message) == 0, "%s",
			rows[i].rule))
			printf("# got %d %s\n", r, err.text);
		index_clear(&index);
	}
}

/* s1 holds a, b and stray; s2 holds b too. */
static struct wload_inventory *headers(void)
{
	static const struct wload_tensor tensors[] = {
		{.name = "a", .shard = 0},
		{.name = "b", .shard = 0},
		{.name = "stray", .shard = 0},
		{.name = "b", .shard = 1},
	};
	struct wload_inventory *inv = inventory_new();
	size_t i;

	for (i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
		inventory_add(inv, &tensors[i], NULL);
	inventory_sort(inv, NULL);
	return inv;
}

static void test_placement(struct tap *tap)
{
	static const char good[] = "{\"weight_map\":{\"b\":\"s2\",\"a\":\"s1\"}}";
	static const char bad[] = "{\"weight_map\":{\"b\":\"s2\",\"a\":\"s2\",\"x\":\"s1\"}}";
	struct wload_inventory *inv = headers();
	struct placement_tally tally[2] = {0};
	struct shard_index index = {0};
	struct wload_error err = {0};
	uint8_t drop[4] = {0};

	index_parse((const uint8_t *)good, strlen(good), &index, NULL);
	ok(tap, index.shard_count == 2 && strcmp(index.shards[0], "s1") == 0,
	   "shards are in the order of their names");
	ok(tap, placement_compare(inv, &index, drop, tally, NULL) == 0, "the index fits");
	ok(tap,
	   memcmp(drop, (const uint8_t[]){0, 1, 0, 0}, 4) == 0 && tally[0].elsewhere == 1 &&
		   strcmp(tally[0].elsewhere_name, "b") == 0,
	   "the copy of a tensor that is placed elsewhere is dropped");
	ok(tap,
	   tally[0].unlisted == 1 && strcmp(tally[0].unlisted_name, "stray") == 0 &&
		   tally[1].unlisted == 0,
	   "an unlisted tensor is kept and counted");
	index_clear(&index);

	index_parse((const uint8_t *)bad, strlen(bad), &index, NULL);
	ok(tap,
	   placement_compare(inv, &index, drop, tally, &err) == -EBADMSG &&
		   strcmp(err.text, "the index places tensor 'a' in 's2', which lacks it") == 0,
	   "a tensor that its shard lacks is refused");
	index_clear(&index);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	test_parse(&tap);
	test_placement(&tap);
	return tap_done(&tap);
}
