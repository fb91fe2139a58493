/* SPDX-License-Identifier: Apache-2.0 */
/* Groups tensors by layer (see layer_runs.h): cuts the disk order into runs, sorts the runs by name
 * to find those of one layer, and numbers the layers by their first runs. */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer_runs.h"
#include "loader/base/checked.h"

static bool is_number(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < '0' || s[i] > '9')
			return false;
	return len > 0;
}

size_t layer_name_len(const char *name)
{
	const char *dot, *last = NULL;

	for (const char *at = name;; at = dot + 1) {
		size_t len;

		dot = strchr(at, '.');
		len = dot ? (size_t)(dot - at) : strlen(at);
		if (is_number(at, len))
			return (size_t)(at - name) + len;
		if (!dot)
			break;
		last = dot;
	}
	return last ? (size_t)(last - name) : strlen(name);
}

/* A run while layers are unknown: its name, and its place on the disk. */
struct named_run {
	const char *name;
	size_t len;
	uint32_t run;
};

static bool same_name(const struct named_run *a, const struct named_run *b)
{
	return a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

/* By name, then by place: the first of a layer's runs is its first on the disk. */
static int by_name(const void *va, const void *vb)
{
	const struct named_run *a = va, *b = vb;
	int order = memcmp(a->name, b->name, a->len < b->len ? a->len : b->len);

	if (order == 0)
		order = (a->len > b->len) - (a->len < b->len);
	return order ? order : (a->run > b->run) - (a->run < b->run);
}

struct build {
	const struct wload_inventory *inv;
	struct layer_runs layers;
	struct named_run *named; /* one a run, in disk order, then sorted */
	size_t run_cap, named_cap;
};

static int cut_runs(struct build *b)
{
	struct layer_runs *layers = &b->layers;
	uint32_t shard = 0;

	for (uint32_t i = 0; i < wload_inventory_count(b->inv); i++) {
		struct wload_tensor t = wload_inventory_tensor(b->inv, i);
		struct named_run named = {t.name, layer_name_len(t.name), layers->run_count};
		size_t n = layers->run_count;

		if (n && t.shard == shard && same_name(&b->named[n - 1], &named)) {
			layers->run[n - 1].end = i + 1;
			continue;
		}
		if (!grow_array(&layers->run, &b->run_cap, n + 1, sizeof(*layers->run)) ||
		    !grow_array(&b->named, &b->named_cap, n + 1, sizeof(*b->named)))
			return -ENOMEM;
		layers->run[n] = (struct layer_run){.first = i, .end = i + 1};
		b->named[n] = named;
		layers->run_count++;
		shard = t.shard;
	}
	return 0;
}

/* Gives each run, for the time being, the first run of its layer instead of the layer. */
static void find_first_runs(struct build *b)
{
	uint32_t first = 0;

	qsort(b->named, b->layers.run_count, sizeof(*b->named), by_name);
	for (uint32_t i = 0; i < b->layers.run_count; i++) {
		if (i == 0 || !same_name(&b->named[i - 1], &b->named[i]))
			first = b->named[i].run;
		b->layers.run[b->named[i].run].layer = first;
	}
}

/* A layer's first run comes before its others, and is numbered by then. */
static int number_layers(struct build *b)
{
	struct layer_runs *layers = &b->layers;
	size_t cap = 0;

	for (uint32_t r = 0; r < layers->run_count; r++) {
		struct layer_run *run = &layers->run[r];
		struct layer *layer;

		if (run->layer != r) {
			run->layer = layers->run[run->layer].layer;
		} else {
			const char *name = wload_inventory_tensor(b->inv, run->first).name;

			if (!grow_array(&layers->layer, &cap, layers->count + 1, sizeof(*layer)))
				return -ENOMEM;
			layers->layer[layers->count] = (struct layer){
				.name = name, .name_len = (uint32_t)layer_name_len(name)};
			run->layer = layers->count++;
		}
		layer = &layers->layer[run->layer];
		layer->tensors += run->end - run->first;
		for (uint32_t i = run->first; i < run->end; i++)
			layer->bytes += wload_inventory_tensor(b->inv, i).bytes;
	}
	return 0;
}

int layer_runs_build(const struct wload_inventory *inv, struct layer_runs *ret)
{
	struct build b = {.inv = inv};
	int r = cut_runs(&b);

	if (r == 0 && b.layers.run_count) {
		find_first_runs(&b);
		r = number_layers(&b);
	}
	free(b.named);
	if (r < 0) {
		layer_runs_free(&b.layers);
		return r;
	}
	*ret = b.layers;
	return 0;
}

void layer_runs_free(struct layer_runs *layers)
{
	free(layers->layer);
	free(layers->run);
	*layers = (struct layer_runs){0};
}
