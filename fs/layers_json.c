/* SPDX-License-Identifier: Apache-2.0 */
/* Writes layers.json (see layers_json.h). The grouping (layer_runs.h) is made at the first need and
 * kept; the page cache is asked once for each run of neighbours, with its borders rounded outwards
 * to pages: a page that two layers share counts for both. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/layer_runs.h"
#include "fs/layers_json.h"
#include "fs/residency.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"

/* A layer's changing numbers. */
struct layer_now {
	uint32_t consumed_tensors;
	uint64_t consumed_bytes;
	uint64_t resident_bytes;
	bool unknown; /* the page cache did not say */
};

static const struct layer_runs *layers_of(struct wloadfs *fs)
{
	LOCK_SCOPE(&fs->control_lock);
	struct layer_runs *layers = fs->layers;

	if (layers)
		return layers;
	layers = calloc(1, sizeof(*layers));
	if (!layers || layer_runs_build(fs->inv, layers) < 0) {
		free(layers);
		return NULL;
	}
	fs->layers = layers;
	return layers;
}

static uint64_t end_of(const struct wload_tensor *tensor)
{
	return tensor->offset + tensor->bytes;
}

static void look_at_run(const struct wloadfs *fs, uint32_t who, const struct layer_run *run,
			struct layer_now *now)
{
	struct wload_tensor first = wload_inventory_tensor(fs->inv, run->first);
	struct wload_tensor last = wload_inventory_tensor(fs->inv, run->end - 1);
	const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, first.shard);
	uint64_t lo = first.offset / fs->page_bytes * fs->page_bytes, hi = end_of(&last), bytes;

	for (uint32_t i = run->first; i < run->end; i++)
		if (fs_is_done(fs, who, i)) {
			now->consumed_tensors++;
			now->consumed_bytes += wload_inventory_tensor(fs->inv, i).bytes;
		}
	hi = (hi + fs->page_bytes - 1) / fs->page_bytes * fs->page_bytes;
	if (first.offset == end_of(&last))
		return;
	if (residency_bytes(&fs->features, shard->fd, lo, hi, &bytes) < 0)
		now->unknown = true;
	now->resident_bytes += bytes;
}

static void add_layer(struct text *text, const struct layer *layer, const struct layer_now *now)
{
	CLEANUP_FREE char *name = strndup(layer->name, layer->name_len);

	if (!name) {
		text->failed = true;
		return;
	}
	text_printf(text, "{\"name\": ");
	text_json_string(text, name);
	text_printf(text,
		    ", \"tensors\": %" PRIu32 ", \"consumed_tensors\": %" PRIu32
		    ", \"bytes\": %" PRIu64 ", \"consumed_bytes\": %" PRIu64
		    ", \"resident_bytes\": ",
		    layer->tensors, now->consumed_tensors, layer->bytes, now->consumed_bytes);
	if (now->unknown)
		text_printf(text, "null}");
	else
		text_printf(text, "%" PRIu64 "}", now->resident_bytes);
}

char *layers_json(struct wloadfs *fs, uint32_t who, size_t *ret_len)
{
	const struct layer_runs *layers = layers_of(fs);
	CLEANUP_FREE struct layer_now *now = NULL;
	struct text text CLEANUP(text_free) = {0};

	if (layers)
		now = calloc((size_t)layers->count + 1, sizeof(*now));
	if (!now)
		return NULL;
	for (uint32_t r = 0; r < layers->run_count; r++)
		look_at_run(fs, who, &layers->run[r], &now[layers->run[r].layer]);
	text_printf(&text, "{\"layers\": [");
	for (uint32_t i = 0; i < layers->count; i++) {
		text_printf(&text, "%s\n  ", i ? "," : "");
		add_layer(&text, &layers->layer[i], &now[i]);
	}
	text_printf(&text, "\n]}\n");
	if (text.failed)
		return NULL;
	*ret_len = text.len;
	return TAKE_PTR(text.s);
}
