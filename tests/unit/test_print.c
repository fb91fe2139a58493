/* SPDX-License-Identifier: Apache-2.0 */
/* Plans as people and programs read them: a table, and JSON. */

#include <errno.h>

#include "loader/base/cleanup.h"
#include "loader/plan/print.h"
#include "plan_world.h"
#include "tap.h"

static char *printed(int (*print)(FILE *, const struct wload_inventory *,
				  const struct wload_plan *),
		     const struct wload_inventory *inv, const struct wload_plan *plan)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (print(out, inv, plan) < 0)
		world_wrong("printing failed");
	fclose(out);
	return text;
}

static void check_print(struct tap *tap)
{
	struct wload_inventory *inv = world_inventory(
		"a.q.w U8 [4,2]\na.k.w U8 [2,2]\n\xc3\xa9\xc0\x80\x1b\"\\\xc2\x9b F32 []\n"
		"h U8 [1]\n");
	static const char rules_text[] =
		"{\"family\": \"f\", \"model_types\": [\"m\"], \"fuse\": [{\"into\": \"qk\", "
		"\"from\":"
		" [\"q\", \"k\"], \"within\": \"a\", \"leaves\": [\"w\"]}],"
		" \"tied\": [{\"when\": \"t\", \"skip\": \"h\"}]}";
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	FILE *full CLEANUP_FCLOSE = fopen("/dev/full", "w");
	char *table, *json;

	wload_rules_parse(rules_text, strlen(rules_text), "x", &rules, NULL);
	wload_plan_build(inv, "{\"t\": true}", &(struct wload_plan_options){.rules = rules}, &plan,
			 NULL);
	table = printed(plan_print_table, inv, plan);
	json = printed(plan_print_json, inv, plan);
	ok(tap,
	   world_same("table", table,
		      "PARAMETER  DTYPE        SHAPE            BYTES\n"
		      "a.qk.w     U8           [6,2]               12\n"
		      "  a.q.w    at 0                              8\n"
		      "  a.k.w    at 8                              4\n"
		      "\xc3\xa9??\"\\?     F32          []                   4\n"
		      "unused: h\n"
		      "family f: 2 parameters of 16 bytes, 1 of them fused, from 4 tensors, 1 "
		      "unused\n"),
	   "print: the table is aligned, and control bytes are made safe");
	ok(tap,
	   world_same(
		   "json", json,
		   "{\"family\": \"f\", \"tp\": 1, \"rank\": 0, \"ep\": 1, \"layout\": \"trtllm\", "
		   "\"note\": null, \"tensor_count\": 4, \"parameter_count\": 2,"
		   " \"fused_count\": 1, \"elsewhere_count\": 0, \"bytes\": 16,\n\"parameters\": "
		   "[\n"
		   "{\"name\": \"a.qk.w\", \"dtype\": \"U8\", \"shape\": [6, 2], \"bytes\": 12,"
		   " \"sources\": [{\"tensor\": \"a.q.w\", \"src_offset\": 0, \"rows\": 1,"
		   " \"src_stride\": 0, \"dst_offset\": 0,"
		   " \"bytes\": 8}, {\"tensor\": \"a.k.w\", \"src_offset\": 0, \"rows\": 1,"
		   " \"src_stride\": 0, \"dst_offset\": 8,"
		   " \"bytes\": 4}]},\n"
		   "{\"name\": \"\xc3\xa9\\u0000\\u001b\\\"\\\\\xc2\x9b\", \"dtype\": \"F32\","
		   " \"shape\": [], \"bytes\": 4, \"sources\": [{\"tensor\":"
		   " \"\xc3\xa9\\u0000\\u001b\\\"\\\\\xc2\x9b\", \"src_offset\": 0, \"rows\": 1,"
		   " \"src_stride\": 0, \"dst_offset\":"
		   " 0, \"bytes\": 4}]}\n],\n\"unused\": [\"h\"]}\n"),
	   "print: JSON, with a NUL as \\u0000");
	ok(tap, plan_print_json(full, inv, plan) == -EIO, "print: a full disk is reported");
	free(table);
	free(json);
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
}

static void check_print_rank(struct tap *tap)
{
	static const char text[] =
		"{\"family\": \"f\", \"model_types\": [\"m\"], \"split\": [{\"modules\": [\"d\"],"
		" \"along\": \"row\"}, {\"modules\": [\"u\"], \"along\": \"column\"}]}";
	struct wload_inventory *inv =
		world_inventory("d.weight U8 [3,4]\nu.weight U8 [3,4]\nn U8 [2]\n");
	struct wload_plan_options options = {.tp = 2, .rank = 1};
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	char *table, *json;

	wload_rules_parse(text, strlen(text), "x", &rules, NULL);
	options.rules = rules;
	wload_plan_build(inv, NULL, &options, &plan, NULL);
	table = printed(plan_print_table, inv, plan);
	json = printed(plan_print_json, inv, plan);
	ok(tap,
	   world_same("table", table,
		      "PARAMETER  DTYPE        SHAPE            BYTES\n"
		      "d.weight   U8           [3,2]                6\n"
		      "  d.weight  at 0                              6  from 2, 3 pieces, one "
		      "every 4\n"
		      "u.weight   U8           [1,4]                4\n"
		      "  u.weight  at 0                              4  from 8\n"
		      "n          U8           [2]                  2\n"
		      "family f, rank 1 of 2: 3 parameters of 12 bytes, 0 of them fused, from 3 "
		      "tensors,"
		      " 0 unused\n"),
	   "print: a rank's table tells where parts are");
	ok(tap,
	   strstr(json, "\"tp\": 2, \"rank\": 1") &&
		   strstr(json, "{\"tensor\": \"d.weight\", \"src_offset\": 2, \"rows\": 3, "
				"\"src_stride\": 4, \"dst_offset\": 0, \"bytes\": 6}"),
	   "print: a rank's JSON tells where parts are");
	free(table);
	free(json);
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
}

int main(void)
{
	struct tap tap = {0};

	check_print(&tap);
	check_print_rank(&tap);
	return tap_done(&tap);
}
