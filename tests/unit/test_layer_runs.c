/* SPDX-License-Identifier: Apache-2.0 */
/* fs/layer_runs.c: which layer a name is of, and the grouping in disk order. */

#include <stdlib.h>
#include <string.h>

#include "fs/layer_runs.h"
#include "make_inventory.h"
#include "tap.h"

static const struct {
	const char *name, *layer;
} names[] = {
	{"model.layers.0.mlp.up_proj.weight", "model.layers.0"},
	{"model.layers.61.mlp.experts.255.w1.weight", "model.layers.61"},
	{"model.layers.00.weight", "model.layers.00"},
	{"transformer.h.7.attn.c_attn.bias", "transformer.h.7"},
	{"0.weight", "0"},
	{"model.norm.weight", "model.norm"},
	{"model.embed_tokens.weight", "model.embed_tokens"},
	{"lm_head.weight", "lm_head"},
	{"scalar", "scalar"},
	{"42", "42"},
	{"blocks.1", "blocks.1"},
	{"blocks.1a.weight", "blocks.1a"},
	{"blocks.-1.weight", "blocks.-1"},
	{"a..b", "a."},
	{".5", ".5"},
	{".", ""},
	{"", ""},
};

static void test_names(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = layer_name_len(names[i].name);

		ok(tap,
		   len == strlen(names[i].layer) &&
			   strncmp(names[i].name, names[i].layer, len) == 0,
		   "'%s' is of '%s'", names[i].name, names[i].layer);
	}
}

static bool is_layer(const struct layer *layer, const char *name, uint32_t tensors, uint64_t bytes)
{
	return layer->name_len == strlen(name) && memcmp(layer->name, name, layer->name_len) == 0 &&
	       layer->tensors == tensors && layer->bytes == bytes;
}

static void test_grouping(struct tap *tap)
{
	static const struct made_tensor made[] = {
		{"lm_head.weight", 5},		 {"model.layers.10.a.weight", 7},
		{"model.layers.10.b.weight", 1}, {"model.layers.1.a.weight", 100},
		{"model.layers.1", 2},		 {"model.layers.10.c.weight", 20},
		{"model.norm.weight", 3},
	};
	struct wload_inventory *inv = make_inventory(made, 7);
	struct layer_runs layers = {0};
	int r = layer_runs_build(inv, &layers);

	ok(tap, r == 0 && layers.count == 4 && layers.run_count == 5, "four layers, five runs");
	ok(tap, is_layer(&layers.layer[0], "lm_head", 1, 5), "the first on the disk is the first");
	ok(tap, is_layer(&layers.layer[1], "model.layers.10", 3, 28), "10 has runs apart");
	ok(tap, is_layer(&layers.layer[2], "model.layers.1", 2, 102), "1 is not 10's beginning");
	ok(tap, is_layer(&layers.layer[3], "model.norm", 1, 3), "a module without a number");
	ok(tap,
	   layers.run[1].layer == 1 && layers.run[1].first == 1 && layers.run[1].end == 3 &&
		   layers.run[3].layer == 1 && layers.run[3].first == 5 && layers.run[3].end == 6,
	   "runs know their layer");
	layer_runs_free(&layers);
	inventory_free(inv);
}

/* Every tensor is in one run, and its layer's name begins its own. */
static void test_many(struct tap *tap)
{
	enum { COUNT = 20000 };
	struct made_tensor *made = calloc(COUNT, sizeof(*made));
	char(*text)[48] = calloc(COUNT, sizeof(*text));
	struct wload_inventory *inv;
	struct layer_runs layers = {0};
	uint32_t next = 0;
	bool right = true;

	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "m.layers.%d.x%d", i * 7919 % 97, i);
		made[i] = (struct made_tensor){text[i], 1};
	}
	inv = make_inventory(made, COUNT);
	right = layer_runs_build(inv, &layers) == 0 && layers.count == 97;
	for (uint32_t r = 0; right && r < layers.run_count; r++) {
		right = layers.run[r].first == next;
		for (next = layers.run[r].first; next < layers.run[r].end; next++) {
			const struct layer *layer = &layers.layer[layers.run[r].layer];
			const char *name = wload_inventory_tensor(inv, next).name;

			right &= layer_name_len(name) == layer->name_len &&
				 memcmp(name, layer->name, layer->name_len) == 0;
		}
	}
	ok(tap, right && next == COUNT, "20,000 tensors, interleaved layers");
	layer_runs_free(&layers);
	inventory_free(inv);
	free(made);
	free(text);
}

int main(void)
{
	struct wload_inventory *none = make_inventory(NULL, 0);
	struct layer_runs layers = {0};
	struct tap tap = {0};

	test_names(&tap);
	test_grouping(&tap);
	test_many(&tap);
	ok(&tap, layer_runs_build(none, &layers) == 0 && layers.count == 0,
	   "no tensors, no layers");
	layer_runs_free(&layers);
	inventory_free(none);
	return tap_done(&tap);
}
