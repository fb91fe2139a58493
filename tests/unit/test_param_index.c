/* SPDX-License-Identifier: Apache-2.0 */
/* fs/param_index and fs/param_names: from tensors, and from file names, back to parameters; of a
 * plan in which one tensor has two parameters. */

#include <stdlib.h>
#include <string.h>

#include "fs/param_index.h"
#include "fs/param_names.h"
#include "loader/checkpoint/inventory.h"
#include "loader/checkpoint/names.h"
#include "tap.h"

/* `kv` holds k and v, which `also` shows v of once more. */
static const char rules_text[] =
	"{\"family\": \"x\", \"model_types\": [\"x\"],"
	" \"packed\": [{\"module\": \"kv\", \"within\": \"a\", \"parts\": [\"k\", \"v\"],"
	"               \"shares\": [1, 1], \"each\": \"heads\"}],"
	" \"fuse\": [{\"into\": \"kv\", \"from\": [\"k\", \"v\"], \"within\": \"a\"},"
	"           {\"into\": \"gate_up\", \"from\": [\"gate\", \"up\"], \"within\": \"b\"}],"
	" \"also\": [{\"into\": \"v_alone\", \"from\": \"v\", \"within\": \"a\","
	"             \"each\": \"heads\"}]}";

#define LONG_NAME                                                                                \
	"x/////////////////////////////////////////////////////////////////////////////////////" \
	"////////"

static const struct {
	const char *name;
	uint64_t shape[2];
} tensors[] = {
	{"m.a.kv.weight", {8, 4}}, {"m.b.gate.weight", {3, 4}}, {"m.b.up.weight", {3, 4}},
	{"50%", {2, 2}},	   {LONG_NAME, {1, 1}},
};
#define TENSORS (sizeof(tensors) / sizeof(tensors[0]))

struct world {
	struct wload_inventory *inv;
	struct wload_rules *rules;
	struct wload_plan *plan;
	struct param_index index;
	struct param_names names;
};

static int world_make(struct world *w, struct wload_error *err)
{
	struct wload_plan_options options = {0};
	uint64_t offset = 100;
	uint32_t pair[2];
	int r = wload_rules_parse(rules_text, sizeof(rules_text) - 1, "rules", &w->rules, err);

	w->inv = inventory_new();
	for (size_t i = 0; r == 0 && i < TENSORS; i++) {
		struct wload_tensor t = {.name = tensors[i].name,
					 .shape = tensors[i].shape,
					 .rank = 2,
					 .dtype = WLOAD_DTYPE_U8,
					 .offset = offset,
					 .bytes = tensors[i].shape[0] * tensors[i].shape[1]};

		offset += t.bytes;
		r = inventory_add(w->inv, &t, err);
	}
	options.rules = w->rules;
	if (r == 0)
		r = inventory_seal(w->inv, pair, err);
	if (r == 0)
		r = wload_plan_build(w->inv, "{\"heads\": 2}", &options, &w->plan, err);
	if (r == 0)
		r = param_index_build(w->plan, TENSORS, &w->index);
	return r == 0 ? param_names_build(w->plan, &w->names) : r;
}

static void world_free(struct world *w)
{
	param_names_free(&w->names);
	param_index_free(&w->index);
	wload_plan_free(w->plan);
	inventory_free(w->inv);
	wload_rules_free(w->rules);
}

static const struct {
	const char *tensor;
	const char *params; /* each with a blank behind */
} uses[] = {
	{"m.a.kv.weight", "m.a.kv.weight m.a.v_alone "},
	{"m.b.gate.weight", "m.b.gate_up.weight "},
	{"m.b.up.weight", "m.b.gate_up.weight "},
	{"50%", "50% "},
};

static bool is_name(const char *list, const char *name)
{
	const char *at = strstr(list, name);

	return at && at[strlen(name)] == ' ';
}

static void check_use(struct tap *tap, const struct world *w, const char *tensor,
		      const char *params)
{
	uint32_t t = 0, cursor = 0, p, count = 0, wanted = 0;
	bool right = wload_inventory_find(w->inv, tensor, &t) == 0;

	while ((p = param_index_next(&w->index, t, &cursor)) != PARAM_NONE) {
		right &= is_name(params, wload_plan_param(w->plan, p)->name);
		right &= w->index.bytes[p] == wload_plan_param(w->plan, p)->bytes;
		count++;
	}
	for (const char *c = params; *c; c++)
		wanted += *c == ' ';
	ok(tap, right && count == wanted, "'%s' is needed by %s", tensor, params);
	ok(tap, param_index_next(&w->index, t, &cursor) == PARAM_NONE, "and by no more");
}

static void check_names(struct tap *tap, const struct world *w)
{
	static const char *const missing[] = {"m.a", "m.a.kv.weightx", "", "m.b.gate.weight",
					      "50%"};
	uint32_t found;
	bool all = true;

	for (uint32_t p = 0; p < wload_plan_count(w->plan); p++) {
		const char *name = wload_plan_param(w->plan, p)->name;
		char file[NAME_FILE_MAX + 1];

		name_to_file(name, strlen(name), "", file);
		all &= param_names_find(&w->names, file, &found) == 0 && found == p;
	}
	ok(tap, all, "every parameter is found by its file name");
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		ok(tap, param_names_find(&w->names, missing[i], &found) < 0, "'%s' is none",
		   missing[i]);
}

int main(void)
{
	struct world w = {0};
	struct wload_error err = {0};
	struct tap tap = {0};
	char file[NAME_FILE_MAX + 1];

	name_to_file(LONG_NAME, strlen(LONG_NAME), "", file);
	ok(&tap, name_is_shortened(file, strlen(file)), "a long name is shortened");
	if (ok(&tap, world_make(&w, &err) == 0, "made: %s", err.text)) {
		ok(&tap, w.index.params == 5 && w.index.more_count == 1, "%u parameters, %u more",
		   w.index.params, w.index.more_count);
		for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
			check_use(&tap, &w, uses[i].tensor, uses[i].params);
		check_names(&tap, &w);
	}
	world_free(&w);
	return tap_done(&tap);
}
