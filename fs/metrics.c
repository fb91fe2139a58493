/* SPDX-License-Identifier: Apache-2.0 */
/* Gathers metrics (see metrics.h): plain numbers by a table, then those with labels. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fs/budget.h"
#include "fs/metrics.h"
#include "fs/metrics_text.h"
#include "fs/ownfile.h"
#include "fs/peak.h"
#include "fs/prefetch.h"
#include "fs/residency.h"
#include "fs/stats.h"
#include "fs/trace.h"
#include "fs/trace_report.h"
#include "loader/base/cleanup.h"
#include "wloadfs/version.h"

struct numbers {
	uint64_t tensors, bytes, consumed_tensors, consumed_bytes;
	uint64_t resident, peak, held, evicted, served, reread, daemon;
	uint64_t budget_window, budget_used;
	uint64_t prefetch_limit, prefetch_ahead, prefetch_read;
	uint64_t registrations, mounted_at;
};

/* Of a number that is not known, or that the mount does not have: it is left out. */
#define NONE UINT64_MAX

#define ROW(field, type, name, help)                                         \
	{                                                                    \
		offsetof(struct numbers, field), type, "wloadfs_" name, help \
	}

static const struct {
	size_t at;
	enum metrics_type type;
	const char *name, *help;
} rows[] = {
	ROW(mounted_at, METRICS_GAUGE, "mount_time_seconds", "When the mount began, Unix time."),
	ROW(tensors, METRICS_GAUGE, "tensors", "Tensors of the checkpoint."),
	ROW(bytes, METRICS_GAUGE, "tensor_bytes", "Bytes of all tensors."),
	ROW(consumed_tensors, METRICS_GAUGE, "consumed_tensors", "Tensors that are consumed now."),
	ROW(consumed_bytes, METRICS_GAUGE, "consumed_bytes", "Bytes of those."),
	ROW(resident, METRICS_GAUGE, "resident_bytes", "Bytes of shards in the page cache."),
	ROW(peak, METRICS_GAUGE, "peak_resident_bytes", "The most of those that was counted."),
	ROW(held, METRICS_GAUGE, "held_bytes", "Consumed bytes that could not be dropped yet."),
	ROW(evicted, METRICS_COUNTER, "evicted_bytes_total", "Bytes dropped from the page cache."),
	ROW(served, METRICS_COUNTER, "served_bytes_total", "Bytes read through the daemon."),
	ROW(reread, METRICS_COUNTER, "reread_bytes_total", "Bytes read again after being dropped."),
	ROW(budget_window, METRICS_GAUGE, "budget_window_bytes",
	    "Bytes of read pages that budget and consume=read allow."),
	ROW(budget_used, METRICS_GAUGE, "budget_used_bytes", "Bytes of read pages counted on it."),
	ROW(prefetch_limit, METRICS_GAUGE, "prefetch_limit_bytes", "Bytes that may be read ahead."),
	ROW(prefetch_ahead, METRICS_GAUGE, "prefetch_ahead_bytes", "Bytes that are read ahead."),
	ROW(prefetch_read, METRICS_COUNTER, "prefetch_read_bytes_total",
	    "Bytes read ahead so far."),
	ROW(daemon, METRICS_GAUGE, "daemon_resident_bytes", "The daemon's own resident memory."),
	ROW(registrations, METRICS_COUNTER, "passthrough_registrations_total",
	    "Files registered with the kernel for passthrough."),
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static void gather_limits(struct wloadfs *fs, struct numbers *n)
{
	if (!budget_numbers(fs, &n->budget_window, &n->budget_used))
		n->budget_window = n->budget_used = NONE;
	if (!prefetch_numbers(fs, &n->prefetch_limit, &n->prefetch_ahead, &n->prefetch_read))
		n->prefetch_limit = n->prefetch_ahead = n->prefetch_read = NONE;
	n->reread = feature_on(&fs->features, FEATURE_PASSTHROUGH) ? NONE
								   : atomic_load(&fs->reread_bytes);
}

static void gather(struct wloadfs *fs, struct numbers *n)
{
	*n = (struct numbers){
		.tensors = wload_inventory_count(fs->inv),
		.bytes = wload_inventory_bytes(fs->inv),
		.evicted = atomic_load(&fs->evicted_bytes),
		.served = atomic_load(&fs->bytes_served),
		.daemon = stats_daemon_resident(fs),
		.registrations = atomic_load(&fs->registrations),
		.mounted_at = (uint64_t)fs->mounted_at.tv_sec,
	};
	n->peak = NONE;
	if (peak_count(fs, &n->resident) < 0)
		n->resident = NONE;
	else
		n->peak = peak_bytes(fs);
	gather_limits(fs, n);
	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++)
		n->held += atomic_load(&fs->held_bytes[i]);
	LOCK_SCOPE(&fs->lock);

	n->consumed_tensors = fs->claims.consumed.tensors;
	n->consumed_bytes = fs->claims.consumed.bytes;
}

static void add_numbers(struct text *text, struct wloadfs *fs)
{
	struct numbers n;

	gather(fs, &n);
	for (size_t i = 0; i < ROW_COUNT; i++) {
		uint64_t value = *(const uint64_t *)((const char *)&n + rows[i].at);

		if (value == NONE)
			continue;
		metrics_family(text, rows[i].name, rows[i].type, rows[i].help);
		metrics_sample(text, rows[i].name, NULL, NULL, value);
	}
}

/* What each rank still claims. */
static void add_claims(struct text *text, struct wloadfs *fs)
{
	const char *name = "wloadfs_claimed_tensors";
	LOCK_SCOPE(&fs->lock);

	if (fs->ranks)
		metrics_family(text, name, METRICS_GAUGE, "Tensors that a rank still claims.");
	for (uint32_t rank = 0; rank < fs->ranks; rank++) {
		char label[16];

		(void)snprintf(label, sizeof(label), "%" PRIu32, rank);
		metrics_sample(text, name, "rank", label,
			       wload_inventory_count(fs->inv) -
				       claims_of(&fs->claims, rank + 1)->tensors);
	}
}

static void add_features(struct text *text, struct wloadfs *fs)
{
	const char *name = "wloadfs_feature";

	metrics_family(text, name, METRICS_GAUGE, "Whether a means of the kernel is in use.");
	for (int i = 0; i < FEATURES; i++)
		metrics_sample(text, name, "feature", feature_name((enum feature)i),
			       feature_on(&fs->features, (enum feature)i));
	name = "wloadfs_file_opens_total";
	metrics_family(text, name, METRICS_COUNTER,
		       "Opens of the checkpoint's own files, by who reads them.");
	metrics_sample(text, name, "by", "kernel", atomic_load(&fs->passthrough_opens));
	metrics_sample(text, name, "by", "daemon", atomic_load(&fs->served_opens));
}

static void add_info(struct text *text, const struct wloadfs *fs)
{
	metrics_family(text, "wloadfs_info", METRICS_GAUGE, "What is mounted, by what; always 1.");
	text_printf(text, "wloadfs_info{version=");
	metrics_label_value(text, WLOAD_VERSION);
	text_printf(text, ",checkpoint=");
	metrics_label_value(text, wload_checkpoint_folder(fs->ckpt));
	text_printf(text, "} 1\n");
}

static void add_shards(struct text *text, const struct wloadfs *fs)
{
	const char *name = "wloadfs_shard_resident_bytes";
	uint32_t shards = wload_checkpoint_shard_count(fs->ckpt);
	uint64_t bytes;

	if (shards > METRICS_SHARDS_MAX)
		return;
	metrics_family(text, name, METRICS_GAUGE, "Bytes of a shard in the page cache.");
	for (uint32_t i = 0; i < shards; i++) {
		const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, i);

		if (residency_bytes(&fs->features, shard->fd, 0, shard->bytes, &bytes) == 0)
			metrics_sample(text, name, "shard", shard->name, bytes);
	}
	name = "wloadfs_shard_held_bytes";
	metrics_family(text, name, METRICS_GAUGE, "Consumed bytes of a shard not dropped yet.");
	for (uint32_t i = 0; i < shards; i++)
		metrics_sample(text, name, "shard", wload_checkpoint_shard(fs->ckpt, i)->name,
			       atomic_load(&fs->held_bytes[i]));
}

static void add_trace(struct text *text, const struct wloadfs *fs)
{
	const char *name = "wloadfs_trace_tensors";
	struct trace_counts counts;
	struct trace_sum sum;

	if (!fs->trace)
		return;
	counts = trace_counts(fs);
	metrics_family(text, "wloadfs_trace_events_total", METRICS_COUNTER, "Events traced.");
	metrics_sample(text, "wloadfs_trace_events_total", NULL, NULL, counts.events);
	metrics_family(text, "wloadfs_trace_dropped_events_total", METRICS_COUNTER,
		       "Events that newer ones displaced.");
	metrics_sample(text, "wloadfs_trace_dropped_events_total", NULL, NULL, counts.dropped);
	if (trace_report_sum(fs, &sum) < 0) {
		text->failed = true;
		return;
	}
	metrics_family(text, name, METRICS_GAUGE, "Tensors by what the trace found of them.");
	for (int k = 0; k < TRACE_KINDS; k++)
		if (trace_sees_shards(fs) || !trace_kind_is_of_reads((enum trace_kind)k))
			metrics_sample(text, name, "kind", trace_kind_name((enum trace_kind)k),
				       sum.count[k]);
}

char *metrics_text(struct wloadfs *fs, uint32_t who, size_t *ret_len)
{
	struct text text CLEANUP(text_free) = {0};

	(void)who;
	add_info(&text, fs);
	ownfile_decide(fs);
	add_numbers(&text, fs);
	add_claims(&text, fs);
	add_features(&text, fs);
	add_shards(&text, fs);
	add_trace(&text, fs);
	if (text.failed)
		return NULL;
	*ret_len = text.len;
	return TAKE_PTR(text.s);
}
