/* SPDX-License-Identifier: Apache-2.0 */
/* Writes stats.json (see stats.h). Bytes everywhere; resident_bytes is asked of the page cache now.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/budget.h"
#include "fs/ownfile.h"
#include "fs/peak.h"
#include "fs/prefetch.h"
#include "fs/stats.h"
#include "fs/trace_report.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "wloadfs/version.h"

uint64_t stats_daemon_resident(const struct wloadfs *fs)
{
	FILE *f CLEANUP_FCLOSE = fopen("/proc/self/statm", "re");
	unsigned long total, resident;

	if (!f || fscanf(f, "%lu %lu", &total, &resident) != 2)
		return 0;
	return resident * fs->page_bytes;
}

static void done_by(struct wloadfs *fs, uint32_t who, uint32_t *ret_tensors, uint64_t *ret_bytes)
{
	LOCK_SCOPE(&fs->lock);

	*ret_tensors = claims_of(&fs->claims, who)->tensors;
	*ret_bytes = claims_of(&fs->claims, who)->bytes;
}

static void add_shards_mode(struct text *text, struct wloadfs *fs)
{
	static const char *const asked[] = {"auto", "passthrough", "served"};
	const char *why = feature_why(&fs->features, FEATURE_PASSTHROUGH);

	text_printf(text, "  \"shards\": {\"asked\": \"%s\", \"mode\": \"%s\", \"why\": ",
		    asked[fs->shards_mode], why ? "served" : "passthrough");
	if (why)
		text_json_string(text, why);
	else
		text_printf(text, "null");
	text_printf(text, ", \"consume\": \"%s\", \"budget\": %s",
		    fs->asked.consume_read ? "read" : "unlink",
		    fs->asked.budget_bytes ? "true" : "false");
	text_printf(text,
		    ", \"passthrough_opens\": %" PRIu32 ", \"served_opens\": %" PRIu32
		    ", \"registrations\": %" PRIu32 "},\n",
		    atomic_load(&fs->passthrough_opens), atomic_load(&fs->served_opens),
		    atomic_load(&fs->registrations));
}

static void add_features(struct text *text, struct wloadfs *fs)
{
	add_shards_mode(text, fs);
	text_printf(text, "  \"tensor_files\": \"%s\",\n  \"bulk_invalidation\": %s,\n",
		    feature_on(&fs->features, FEATURE_DIRECT_MMAP) && !fs->budget ? "direct"
										  : "cached",
		    feature_on(&fs->features, FEATURE_EPOCH) ? "true" : "false");
	text_printf(text, "  \"features\": ");
	features_json(&fs->features, text);
	text_printf(text, ",\n");
}

/* What ranks have of the checkpoint; null: all of it. */
static void add_plan(struct text *text, const struct wloadfs *fs)
{
	static const char *const names[WLOAD_NAMES_COUNT] = {
		[WLOAD_NAMES_FUSED] = "fused", [WLOAD_NAMES_HF] = "hf"};

	if (!fs->plan.tp)
		text_printf(text, "  \"tp\": null,\n  \"ep\": null,\n  \"names\": null,\n");
	else
		text_printf(text,
			    "  \"tp\": %" PRIu32 ",\n  \"ep\": %" PRIu32
			    ",\n  \"names\": \"%s\",\n",
			    fs->plan.tp, fs->plan.ep ? fs->plan.ep : 1, names[fs->plan.names]);
	text_printf(text,
		    "  \"layout\": \"%s\",\n  \"rules\": ", wload_layout_name(fs->plan.layout));
	if (fs->plan.rules_path)
		text_json_string(text, fs->plan.rules_path);
	else
		text_printf(text, "null");
	text_printf(text, ",\n");
}

/* What each rank still claims. */
static void add_claims(struct text *text, struct wloadfs *fs, uint32_t who)
{
	text_printf(text, "  \"ranks\": %" PRIu32 ",\n  \"rank\": ", fs->ranks);
	if (who != CLAIMS_ROOT)
		text_printf(text, "%" PRIu32 ",\n", who - 1);
	else
		text_printf(text, "null,\n");
	add_plan(text, fs);
	text_printf(text, "  \"claims\": [");
	for (uint32_t rank = 0; rank < fs->ranks; rank++) {
		uint32_t tensors;
		uint64_t bytes;

		done_by(fs, rank + 1, &tensors, &bytes);
		text_printf(text,
			    "%s\n    {\"rank\": %" PRIu32 ", \"tensors\": %" PRIu32
			    ", \"bytes\": %" PRIu64 "}",
			    rank ? "," : "", rank, wload_inventory_count(fs->inv) - tensors,
			    wload_inventory_bytes(fs->inv) - bytes);
	}
	text_printf(text, "%s],\n", fs->ranks ? "\n  " : "");
}

static void add_counts(struct text *text, struct wloadfs *fs, uint32_t who)
{
	uint32_t consumed_tensors;
	uint64_t consumed_bytes;

	done_by(fs, who, &consumed_tensors, &consumed_bytes);
	text_printf(text,
		    "  \"tensors\": %" PRIu32 ",\n  \"bytes\": %" PRIu64 ",\n"
		    "  \"consumed_tensors\": %" PRIu32 ",\n  \"consumed_bytes\": %" PRIu64 ",\n",
		    wload_inventory_count(fs->inv), wload_inventory_bytes(fs->inv),
		    consumed_tensors, consumed_bytes);
}

static void add_memory(struct text *text, struct wloadfs *fs)
{
	uint64_t resident, held = 0;

	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++)
		held += atomic_load(&fs->held_bytes[i]);
	if (peak_count(fs, &resident) == 0)
		text_printf(text,
			    "  \"resident_bytes\": %" PRIu64 ",\n"
			    "  \"peak_resident_bytes\": %" PRIu64 ",\n",
			    resident, peak_bytes(fs));
	else
		text_printf(text, "  \"resident_bytes\": null,\n"
				  "  \"peak_resident_bytes\": null,\n");
	text_printf(text,
		    "  \"held_bytes\": %" PRIu64 ",\n  \"evicted_bytes\": %" PRIu64 ",\n"
		    "  \"served_bytes\": %" PRIu64 ",\n  \"daemon_resident_bytes\": %" PRIu64 ",\n",
		    held, atomic_load(&fs->evicted_bytes), atomic_load(&fs->bytes_served),
		    stats_daemon_resident(fs));
}

/* What is held down on purpose, and what it costs. */
static void add_limits(struct text *text, struct wloadfs *fs)
{
	text_printf(text, "  \"budget\": ");
	budget_json(fs, text);
	text_printf(text, ",\n  \"prefetch\": ");
	prefetch_json(fs, text);
	text_printf(text, ",\n  \"reread_bytes\": ");
	if (feature_on(&fs->features, FEATURE_PASSTHROUGH))
		text_printf(text, "null,\n");
	else
		text_printf(text, "%" PRIu64 ",\n", atomic_load(&fs->reread_bytes));
}

char *stats_json(struct wloadfs *fs, uint32_t who, size_t *ret_len)
{
	struct text text CLEANUP(text_free) = {0};

	text_printf(&text,
		    "{\n  \"version\": \"%s\",\n  \"pid\": %ld,\n  \"checkpoint\": ", WLOAD_VERSION,
		    (long)getpid());
	text_json_string(&text, wload_checkpoint_folder(fs->ckpt));
	text_printf(&text, ",\n  \"shard_files\": %" PRIu32 ",\n",
		    wload_checkpoint_shard_count(fs->ckpt));
	add_counts(&text, fs, who);
	add_claims(&text, fs, who);
	add_memory(&text, fs);
	trace_report_stats(fs, &text);
	ownfile_decide(fs);
	add_limits(&text, fs);
	add_features(&text, fs);
	text_printf(&text, "  \"kernel_protocol\": \"7.%" PRIu32 "\",\n  \"libfuse\": \"%s\"\n}\n",
		    fs->wire.kernel_minor, fuse_pkgversion());
	if (text.failed)
		return NULL;
	*ret_len = text.len;
	return TAKE_PTR(text.s);
}
