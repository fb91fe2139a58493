/* SPDX-License-Identifier: Apache-2.0 */
/* Takes down what happens (see trace.h). Lock order: fs->lock, then the trace's. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/coverage.h"
#include "fs/fused.h"
#include "fs/npy.h"
#include "fs/trace.h"
#include "loader/base/cleanup.h"

struct trace_tensor {
	struct coverage seen; /* until all was */
	uint64_t consumed_us; /* the last time, by one rank at least; 0: never */
	int32_t consumed_by;
	uint8_t marks; /* enum trace_mark */
	bool consumed; /* nobody needs it any more */
};

struct trace {
	pthread_mutex_t lock; /* of all below */
	uint64_t start_us;    /* fixed */
	struct events events;
	struct trace_tensor *tensor;
	uint32_t tensors;
};

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Since the mount began; never 0, which is "never". */
static uint64_t now_us(const struct trace *trace)
{
	return clock_us() - trace->start_us + 1;
}

int trace_start(struct wloadfs *fs)
{
	uint32_t tensors = wload_inventory_count(fs->inv);
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return -ENOMEM;
	pthread_mutex_init(&trace->lock, NULL);
	trace->start_us = clock_us();
	trace->tensors = tensors;
	trace->tensor = calloc((size_t)tensors + 1, sizeof(*trace->tensor));
	fs->trace = trace;
	return trace->tensor ? events_init(&trace->events) : -ENOMEM;
}

void trace_free(struct wloadfs *fs)
{
	struct trace *trace = fs->trace;

	if (!trace)
		return;
	for (uint32_t i = 0; trace->tensor && i < trace->tensors; i++)
		coverage_clear(&trace->tensor[i].seen);
	free(trace->tensor);
	events_free(&trace->events);
	pthread_mutex_destroy(&trace->lock);
	free(trace);
	fs->trace = NULL;
}

bool trace_sees_shards(const struct wloadfs *fs)
{
	return !feature_on(&fs->features, FEATURE_PASSTHROUGH);
}

static struct node tensor_node(uint32_t who, uint32_t tensor)
{
	return (struct node){.kind = NODE_TENSOR, .index = tensor, .who = (uint16_t)who};
}

/* ---- events; lock held ---- */

static void add(struct trace *trace, struct event event)
{
	event.at_us = now_us(trace);
	events_add(&trace->events, &event);
}

static void add_of(struct trace *trace, enum event_kind kind, struct node file, int32_t pid)
{
	add(trace, (struct event){.kind = kind, .node = node_id(file), .pid = pid});
}

/* An event that says who consumed the tensor. */
static void add_culprit(struct trace *trace, enum event_kind kind, struct node file,
			uint32_t tensors, int32_t pid)
{
	const struct trace_tensor *t = &trace->tensor[file.index];

	add(trace, (struct event){.kind = kind,
				  .node = node_id(file),
				  .a = t->consumed_us,
				  .b = (uint32_t)t->consumed_by,
				  .count = tensors,
				  .pid = pid});
}

/* ---- marks; lock held ---- */

static void cover(struct trace_tensor *t, uint64_t lo, uint64_t hi, uint64_t bytes)
{
	t->marks |= MARK_TOUCHED;
	if (t->marks & MARK_READ || !coverage_add(&t->seen, lo, hi, bytes))
		return;
	t->marks |= MARK_READ;
	coverage_clear(&t->seen);
}

/* Who is done with a tensor, and, once nobody needs it any more, whether it had been read. */
static void mark_consumed(const struct wloadfs *fs, uint32_t tensor, bool loaded, int32_t pid)
{
	struct trace_tensor *t = &fs->trace->tensor[tensor];

	t->consumed_us = now_us(fs->trace);
	t->consumed_by = pid;
	if (loaded)
		t->marks |= MARK_READ;
	t->consumed = fs_is_consumed(fs, tensor);
	if (t->consumed && !(t->marks & MARK_READ) && wload_inventory_tensor(fs->inv, tensor).bytes)
		t->marks |= MARK_CONSUMED_UNREAD;
}

static void mark_restored(struct trace *trace, uint32_t tensor)
{
	struct trace_tensor *t = &trace->tensor[tensor];

	if (!t->consumed)
		return; /* some rank's claim came back */
	t->consumed = false;
	t->marks &= (uint8_t) ~(MARK_TOUCHED | MARK_READ);
	coverage_clear(&t->seen);
}

/* ---- opens and reads ---- */

static bool is_tensor_file(struct node file)
{
	return file.kind == NODE_TENSOR || file.kind == NODE_NPY;
}

void trace_open(struct wloadfs *fs, struct node file, int32_t pid)
{
	if (!fs->trace)
		return;
	LOCK_SCOPE(&fs->trace->lock);

	add_of(fs->trace, EVENT_OPEN, file, pid);
}

static void read_tensor(struct wloadfs *fs, struct node file, int32_t pid, uint64_t offset,
			uint64_t bytes)
{
	struct wload_tensor tensor = wload_inventory_tensor(fs->inv, file.index);
	uint64_t header = file.kind == NODE_NPY ? npy_header_len(&tensor) : 0;
	uint64_t lo = offset > header ? offset - header : 0;
	uint64_t hi = offset + bytes > header ? offset + bytes - header : 0;
	struct trace *trace = fs->trace;
	LOCK_SCOPE(&trace->lock);

	if (lo < hi)
		cover(&trace->tensor[file.index], lo, hi, tensor.bytes);
	if (!fs_is_done(fs, file.who, file.index))
		return;
	trace->tensor[file.index].marks |= MARK_REREAD;
	add_culprit(trace, EVENT_REREAD, file, 1, pid);
}

/* The first tensor of a shard that ends behind an offset, or begins there. */
static uint32_t first_behind(const struct wloadfs *fs, const struct wload_shard *shard,
			     uint64_t offset, bool begins)
{
	uint32_t lo = shard->first, hi = shard->end;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		struct wload_tensor t = wload_inventory_tensor(fs->inv, mid);

		if (begins ? t.offset >= offset : t.offset + t.bytes > offset)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

void trace_touched(const struct wloadfs *fs, uint32_t own, uint64_t offset, uint64_t bytes,
		   uint32_t *ret_first, uint32_t *ret_end)
{
	uint32_t index = fs->own.entry[own].shard;

	*ret_first = *ret_end = 0;
	if (index == OWN_NO_SHARD)
		return;
	*ret_first = first_behind(fs, wload_checkpoint_shard(fs->ckpt, index), offset, false);
	*ret_end = first_behind(fs, wload_checkpoint_shard(fs->ckpt, index), offset + bytes, true);
}

/* What of a READ was meant for consumed tensors, of one run of them: see trace.h on page borders.
 */
static struct page_range meant_for(const struct wloadfs *fs, const struct wload_shard *shard,
				   struct consumed_run run, uint64_t lo, uint64_t hi)
{
	struct shard_extent extent = {shard->first, shard->end, shard->bytes};
	bool paged = lo % fs->page_bytes == 0 && (hi % fs->page_bytes == 0 || hi == shard->bytes);
	struct page_range dead;

	if (paged) {
		run = consumed_run_around(&fs->claims.consumed, run.first, shard->first,
					  shard->end);
		dead = consumed_dead_pages(&fs->claims.consumed, run, &extent, fs->page_bytes);
		lo = lo < dead.lo ? dead.lo : lo;
		hi = hi < dead.hi ? hi : dead.hi;
	}
	return (struct page_range){lo, hi};
}

/* Marks what a READ of a shard had of consumed tensors. fs->lock and the trace's held.
 *
 * Returns how many tensors; sets the first of them. */
static uint32_t mark_rereads(const struct wloadfs *fs, const struct wload_shard *shard,
			     struct consumed_run touched, uint64_t lo, uint64_t hi,
			     uint32_t *ret_first)
{
	uint32_t count = 0;

	for (struct consumed_run run = {touched.first, touched.first};
	     consumed_next_run(&fs->claims.consumed, run.end, touched.end, &run);) {
		struct page_range meant = meant_for(fs, shard, run, lo, hi);

		for (uint32_t i = run.first; i < run.end; i++) {
			struct wload_tensor t = wload_inventory_tensor(fs->inv, i);

			if (meant.lo >= meant.hi || t.offset >= meant.hi ||
			    t.offset + t.bytes <= meant.lo)
				continue;
			fs->trace->tensor[i].marks |= MARK_REREAD;
			if (count++ == 0)
				*ret_first = i;
		}
	}
	return count;
}

/* Returns whether one of the touched tensors is consumed. */
static bool cover_shard(const struct wloadfs *fs, struct consumed_run touched, uint64_t lo,
			uint64_t hi)
{
	struct trace *trace = fs->trace;
	bool any = false;
	LOCK_SCOPE(&trace->lock);

	for (uint32_t i = touched.first; i < touched.end; i++) {
		struct wload_tensor t = wload_inventory_tensor(fs->inv, i);
		uint64_t end = t.offset + t.bytes;

		any |= fs_is_consumed(fs, i);
		if (t.bytes)
			cover(&trace->tensor[i], lo > t.offset ? lo - t.offset : 0,
			      (hi < end ? hi : end) - t.offset, t.bytes);
	}
	return any;
}

static void read_shard(struct wloadfs *fs, struct node file, int32_t pid, uint64_t lo, uint64_t hi)
{
	const struct wload_shard *shard =
		wload_checkpoint_shard(fs->ckpt, fs->own.entry[file.index].shard);
	struct node first = tensor_node(CLAIMS_ROOT, 0);
	struct consumed_run touched;
	uint32_t rereads;

	trace_touched(fs, file.index, lo, hi - lo, &touched.first, &touched.end);
	if (!cover_shard(fs, touched, lo, hi))
		return;
	pthread_mutex_lock(&fs->lock);
	pthread_mutex_lock(&fs->trace->lock);
	rereads = mark_rereads(fs, shard, touched, lo, hi, &first.index);
	if (rereads)
		add_culprit(fs->trace, EVENT_REREAD, first, rereads, pid);
	pthread_mutex_unlock(&fs->trace->lock);
	pthread_mutex_unlock(&fs->lock);
}

struct reading {
	struct wloadfs *fs;
	struct node file, first; /* the first tensor that is gone from the file's tree */
	uint32_t rereads;
};

static void cover_piece(void *ctx, uint32_t tensor, uint64_t lo, uint64_t hi)
{
	struct reading *reading = ctx;
	struct trace *trace = reading->fs->trace;
	LOCK_SCOPE(&trace->lock);

	cover(&trace->tensor[tensor], lo, hi,
	      wload_inventory_tensor(reading->fs->inv, tensor).bytes);
	if (!fs_is_done(reading->fs, reading->file.who, tensor))
		return;
	trace->tensor[tensor].marks |= MARK_REREAD;
	if (reading->rereads++ == 0)
		reading->first = tensor_node(reading->file.who, tensor);
}

/* A READ of a file that is made of many tensors. */
static void read_made(struct wloadfs *fs, struct node file, int32_t pid, uint64_t offset,
		      uint64_t bytes)
{
	struct reading reading = {.fs = fs, .file = file};

	fused_touched(fs, file, offset, bytes, cover_piece, &reading);
	if (!reading.rereads)
		return;
	LOCK_SCOPE(&fs->trace->lock);

	add_culprit(fs->trace, EVENT_REREAD, reading.first, reading.rereads, pid);
}

void trace_read(struct wloadfs *fs, struct node file, int32_t pid, uint64_t offset, uint64_t bytes)
{
	if (!fs->trace || !bytes)
		return;
	pthread_mutex_lock(&fs->trace->lock);
	add(fs->trace, (struct event){.kind = EVENT_READ,
				      .node = node_id(file),
				      .a = offset,
				      .b = (uint32_t)bytes,
				      .pid = pid});
	pthread_mutex_unlock(&fs->trace->lock);
	if (is_tensor_file(file))
		read_tensor(fs, file, pid, offset, bytes);
	else if (file.kind == NODE_FUSED_FILE || file.kind == NODE_MADE)
		read_made(fs, file, pid, offset, bytes);
	else if (fs->own.entry[file.index].shard != OWN_NO_SHARD)
		read_shard(fs, file, pid, offset, offset + bytes);
}

void trace_missing(struct wloadfs *fs, struct node file, int32_t pid)
{
	if (!fs->trace || !is_tensor_file(file))
		return;
	LOCK_SCOPE(&fs->trace->lock);

	fs->trace->tensor[file.index].marks |= MARK_MISSED;
	add_culprit(fs->trace, EVENT_MISSING, file, 1, pid);
}

/* ---- consumption ---- */

static void consumed_by(struct wloadfs *fs, struct node file, enum event_way way, int32_t pid)
{
	LOCK_SCOPE(&fs->trace->lock);

	mark_consumed(fs, file.index, way == EVENT_BY_LOADED, pid);
	add(fs->trace,
	    (struct event){.kind = EVENT_CONSUME, .node = node_id(file), .a = way, .pid = pid});
}

void trace_unlink(struct wloadfs *fs, struct node file, int32_t pid)
{
	if (fs->trace)
		consumed_by(fs, file, EVENT_BY_UNLINK, pid);
}

void trace_change(struct wloadfs *fs, uint32_t who, const struct action *action, uint32_t tensor)
{
	if (!fs->trace)
		return;
	if (action->verb == COMMAND_KEY || action->verb == COMMAND_LOADED) {
		consumed_by(fs, tensor_node(who, tensor),
			    action->verb == COMMAND_KEY ? EVENT_BY_KEY : EVENT_BY_LOADED,
			    action->pid);
		return;
	}
	LOCK_SCOPE(&fs->trace->lock);

	if (action->verb == COMMAND_RESTORE)
		mark_restored(fs->trace, tensor);
	else
		mark_consumed(fs, tensor, false, action->pid);
}

void trace_action(struct wloadfs *fs, uint32_t who, const struct action *action)
{
	bool all = action->prefix_len == 0, restore = action->verb == COMMAND_RESTORE;
	struct node example = tensor_node(who, 0);
	enum event_kind kind;

	if (!fs->trace || !action->changed || action->verb == COMMAND_KEY ||
	    action->verb == COMMAND_LOADED)
		return;
	if (restore)
		kind = all ? EVENT_RESTORE_ALL : EVENT_RESTORE_PREFIX;
	else
		kind = all ? EVENT_CONSUME_ALL : EVENT_CONSUME_PREFIX;
	if (!all)
		example.index = wload_inventory_by_name(fs->inv, action->first);
	LOCK_SCOPE(&fs->trace->lock);

	add(fs->trace, (struct event){.kind = kind,
				      .node = node_id(example),
				      .a = action->prefix_len,
				      .count = (uint32_t)action->changed,
				      .pid = action->pid});
}

/* ---- what is known ---- */

struct trace_counts trace_counts(const struct wloadfs *fs)
{
	struct trace *trace = fs->trace;
	LOCK_SCOPE(&trace->lock);
	uint64_t events = trace->events.end;

	return (struct trace_counts){
		.events = events,
		.dropped = events > EVENTS_MAX ? events - EVENTS_MAX : 0,
	};
}

uint32_t trace_copy(const struct wloadfs *fs, uint64_t from, uint32_t max, struct event *ret,
		    uint64_t *ret_lost)
{
	LOCK_SCOPE(&fs->trace->lock);

	return events_copy(&fs->trace->events, from, max, ret, ret_lost);
}

uint8_t *trace_marks(const struct wloadfs *fs)
{
	struct trace *trace = fs->trace;
	uint8_t *marks = malloc((size_t)trace->tensors + 1);
	LOCK_SCOPE(&trace->lock);

	for (uint32_t i = 0; marks && i < trace->tensors; i++)
		marks[i] = trace->tensor[i].marks;
	return marks;
}
