/* SPDX-License-Identifier: Apache-2.0 */
/* Books READs, parks those that are too many, and drops what is too old (budget.h). */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "fs/budget.h"
#include "fs/clock.h"
#include "fs/evict.h"
#include "fs/gate.h"
#include "fs/readahead.h"
#include "fs/ledger.h"
#include "fs/npy.h"
#include "fs/residency.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"

#define READ_AHEAD_MAX	 (1u << 20) /* a READ has no more */
#define READ_AHEAD_SHARE 32u
#define IDLE_NS		 UINT64_C(500000000) /* without READs: the window of consume=read empties */
#define LOOK_NS		 UINT64_C(1000000000) /* between looks at the shards' own pages */
#define LOOK_COSTS	 10		      /* and so many times what one took */
#define LOOK_WINDOW	 (64u << 20)	      /* of a shard, counted at once */
#define SLICE_NS	 UINT64_C(2000000)    /* of a look, before other work has its turn */
#define RESERVE_MAX	 (UINT64_C(32) << 20) /* of a budget: not for what is booked */

/* A look at the shards' own pages. Where the kernel has no cachestat, counting those of hundreds of
 * gigabytes takes seconds, so it is done in slices. Evictor only. */
struct look {
	uint64_t at;	    /* when to begin or to go on, ns */
	uint32_t shard;	    /* where it is */
	uint64_t offset;    /* in that shard, bytes */
	uint64_t sum;	    /* bytes cached, so far */
	bool dropping;	    /* the look before found too much */
	uint64_t excess;    /* by that, still to be dropped */
	uint64_t gone;	    /* dropped, so far */
	uint64_t worked_ns; /* so far */
};

struct budget {
	pthread_mutex_t lock;
	struct ledger ledger; /* under lock, like the next two */
	uint64_t *dropped;    /* a bit for each 64 pages of each shard: dropped once */
	uint64_t limit_bytes; /* as asked for; 0: consume=read alone */
	uint64_t *first_bit;  /* of each shard */
	struct gate *gate;
	_Atomic bool wants;	  /* ledger_wants(), as of the last change */
	_Atomic uint64_t read_at; /* the last READ, ns; 0 while nothing is booked */
	struct look look;
};

/* ---- files ---- */

bool budget_covers(const struct wloadfs *fs, struct node node)
{
	if (!fs->budget)
		return false;
	return node.kind == NODE_TENSOR || node.kind == NODE_NPY || node.kind == NODE_FUSED_FILE ||
	       node.kind == NODE_MADE ||
	       (node.kind == NODE_OWN && fs->own.entry[node.index].shard != OWN_NO_SHARD);
}

/* Where a file's bytes lie in a shard. Those of a file that is made of many tensors lie in many
 * places: what was cached of them beside the mount is left to the looks, and what is read again of
 * them is not counted. */
struct place {
	uint32_t shard;	 /* OWN_NO_SHARD: in many */
	uint64_t header; /* bytes of the file that are no shard's */
	uint64_t offset; /* of the byte behind them */
	uint64_t bytes;	 /* of the file */
};

static struct place place_of(const struct wloadfs *fs, struct node node)
{
	struct wload_tensor tensor;
	struct place place = {0};

	if (node.kind == NODE_OWN) {
		place.shard = fs->own.entry[node.index].shard;
		place.bytes = wload_checkpoint_shard(fs->ckpt, place.shard)->bytes;
		return place;
	}
	if (node.kind == NODE_FUSED_FILE || node.kind == NODE_MADE)
		return (struct place){.shard = OWN_NO_SHARD, .bytes = view_bytes(fs, node)};
	tensor = wload_inventory_tensor(fs->inv, node.index);
	place.shard = tensor.shard;
	place.header = node.kind == NODE_NPY ? npy_header_len(&tensor) : 0;
	place.offset = tensor.offset;
	place.bytes = place.header + tensor.bytes;
	return place;
}

/* The shard's bytes of [lo, hi) of a file, rounded outwards to pages. */
static struct page_range shard_range(const struct wloadfs *fs, const struct place *place,
				     uint64_t lo, uint64_t hi)
{
	uint64_t page = fs->page_bytes, end = hi < place->bytes ? hi : place->bytes;
	uint64_t skipped = place->offset - place->header; /* may wrap, and wraps back */

	if (lo < place->header)
		lo = place->header;
	if (lo >= end || place->shard == OWN_NO_SHARD)
		return (struct page_range){0, 0};
	return (struct page_range){(lo + skipped) / page * page,
				   (end + skipped + page - 1) / page * page};
}

/* ---- what was dropped before ---- */

static uint64_t chunk_bytes(const struct wloadfs *fs)
{
	return LEDGER_CHUNK_PAGES * fs->page_bytes;
}

static int make_bits(struct wloadfs *fs, struct budget *b)
{
	uint32_t shards = wload_checkpoint_shard_count(fs->ckpt);
	uint64_t bits = 0;

	b->first_bit = calloc((size_t)shards + 1, sizeof(*b->first_bit));
	if (!b->first_bit)
		return -ENOMEM;
	for (uint32_t i = 0; i < shards; i++) {
		b->first_bit[i] = bits;
		bits += wload_checkpoint_shard(fs->ckpt, i)->bytes / chunk_bytes(fs) + 1;
	}
	b->dropped = calloc(bits / 64 + 1, sizeof(*b->dropped));
	return b->dropped ? 0 : -ENOMEM;
}

static bool was_dropped(const struct budget *b, uint32_t shard, uint64_t chunk)
{
	uint64_t bit = b->first_bit[shard] + chunk;

	return b->dropped[bit / 64] >> bit % 64 & 1;
}

/* Lock held. */
static void note_dropped(struct wloadfs *fs, const struct ledger_range *range)
{
	struct place place = place_of(fs, node_from_id(range->node));
	struct page_range r = shard_range(fs, &place, range->lo, range->hi);

	for (uint64_t c = r.lo / chunk_bytes(fs); c * chunk_bytes(fs) < r.hi; c++) {
		uint64_t bit = fs->budget->first_bit[place.shard] + c;

		fs->budget->dropped[bit / 64] |= UINT64_C(1) << bit % 64;
	}
}

/* ---- READs ---- */

/* Tells the evictor, where there is something to drop since the last change. Returns whether it has
 * to be woken, which must be without the lock. Lock held. */
static bool reconsider(struct budget *b)
{
	bool wants = ledger_wants(&b->ledger);

	return !atomic_exchange(&b->wants, wants) && wants;
}

/* Books [lo, hi), chunk by chunk, and counts what had been dropped. Lock held. */
static int book(struct wloadfs *fs, const struct place *place, uint64_t node, uint64_t lo,
		uint64_t hi)
{
	struct budget *b = fs->budget;
	int r = 0;

	for (uint64_t at = lo, end; r == 0 && at < hi; at = end) {
		struct page_range range;
		uint64_t added;

		end = (at / chunk_bytes(fs) + 1) * chunk_bytes(fs);
		end = end < hi ? end : hi;
		r = ledger_read(&b->ledger, node, at, end, &added);
		range = shard_range(fs, place, at, end);
		if (r == 0 && added && range.lo < range.hi &&
		    was_dropped(b, place->shard, range.lo / chunk_bytes(fs)))
			atomic_fetch_add(&fs->reread_bytes, added);
	}
	atomic_store(&b->read_at, clock_ns());
	return r;
}

/* Books a READ if it may be answered now, or must be. Returns 0, -EAGAIN, -ENOMEM. */
static int admit(struct wloadfs *fs, struct node node, uint64_t lo, uint64_t hi, bool must)
{
	struct place place = place_of(fs, node);
	struct budget *b = fs->budget;
	int r = -EAGAIN;
	bool wake;

	hi = hi < place.bytes ? hi : place.bytes;
	if (lo >= hi)
		return 0;
	pthread_mutex_lock(&b->lock);
	if (must || ledger_may_read(&b->ledger, node_id(node), lo, hi))
		r = book(fs, &place, node_id(node), lo, hi);
	wake = reconsider(b);
	pthread_mutex_unlock(&b->lock);
	if (wake)
		evictor_wake(fs);
	return r;
}

static int admit_parked(struct wloadfs *fs, const struct gate_range *range, bool must)
{
	return admit(fs, node_from_id(range->node), range->lo, range->hi, must);
}

int budget_read(struct wloadfs *fs, fuse_req_t req, struct node node, uint64_t offset, size_t size)
{
	struct gate_range range = {node_id(node), offset, offset + size};
	bool must = atomic_load(&fs->stopping);
	int r;

	if (!budget_covers(fs, node))
		return 0;
	r = admit(fs, node, offset, offset + size, must);
	if (r != -EAGAIN || gate_park(fs->budget->gate, req, range) == 0)
		return r;
	return admit(fs, node, offset, offset + size, true);
}

/* ---- dropping ---- */

bool budget_wants(const struct wloadfs *fs)
{
	return fs->budget && atomic_load(&fs->budget->wants);
}

/* Lock not held; the range is the one that leaves, or another that was dropped. */
static void left(struct wloadfs *fs)
{
	struct budget *b = fs->budget;

	pthread_mutex_lock(&b->lock);
	ledger_left(&b->ledger);
	(void)reconsider(b); /* by the evictor itself, which looks again */
	if (!b->ledger.oldest)
		atomic_store(&b->read_at, 0);
	pthread_mutex_unlock(&b->lock);
	gate_room(b->gate);
}

void budget_dropping(struct wloadfs *fs, struct node node, uint64_t lo, uint64_t hi)
{
	struct budget *b = fs->budget;
	struct gate_range range = {node_id(node), lo, hi};
	uint64_t before;

	if (!b)
		return;
	/* The last page may be a part of one. */
	if (hi >= place_of(fs, node).bytes)
		hi = UINT64_MAX;
	pthread_mutex_lock(&b->lock);
	before = b->ledger.used_bytes;
	ledger_drop(&b->ledger, node_id(node), lo, hi);
	if (b->ledger.used_bytes < before)
		note_dropped(fs, &b->ledger.leaving);
	pthread_mutex_unlock(&b->lock);
	gate_release(b->gate, range);
}

void budget_dropped(struct wloadfs *fs)
{
	if (fs->budget)
		left(fs);
}

void budget_step(struct wloadfs *fs)
{
	struct budget *b = fs->budget;
	struct ledger_range range = {0};
	struct page_range behind;
	struct place place;
	uint64_t kept;
	bool any;

	if (!budget_wants(fs) || atomic_load(&fs->stopping))
		return;
	pthread_mutex_lock(&b->lock);
	any = ledger_next(&b->ledger, &range);
	if (any)
		note_dropped(fs, &range);
	pthread_mutex_unlock(&b->lock);
	if (!any)
		return;
	gate_release(b->gate, (struct gate_range){range.node, range.lo, range.hi});
	(void)fuse_lowlevel_notify_inval_inode(fs->session, range.node, (off_t)range.lo,
					       (off_t)(range.hi - range.lo));
	/* What others had cached of it, or read-ahead of theirs. */
	place = place_of(fs, node_from_id(range.node));
	behind = shard_range(fs, &place, range.lo, range.hi);
	if (behind.lo < behind.hi && fs->shard_evictable[place.shard])
		atomic_fetch_add(&fs->evicted_bytes,
				 residency_drop(&fs->features,
						wload_checkpoint_shard(fs->ckpt, place.shard)->fd,
						behind.lo, behind.hi, &kept));
	left(fs);
}

/* ---- looks ---- */

uint64_t budget_look_at(const struct wloadfs *fs)
{
	const struct budget *b = fs->budget;
	uint64_t at = UINT64_MAX, read_at;

	if (!b)
		return at;
	read_at = atomic_load(&b->read_at);
	if (fs->asked.consume_read && read_at)
		at = read_at + IDLE_NS;
	if (b->limit_bytes && b->look.at < at)
		at = b->look.at;
	return at;
}

static void empty_if_idle(struct wloadfs *fs)
{
	struct budget *b = fs->budget;
	uint64_t read_at = atomic_load(&b->read_at);

	if (!fs->asked.consume_read || !read_at || clock_ns() < read_at + IDLE_NS)
		return;
	LOCK_SCOPE(&b->lock);

	ledger_empty(&b->ledger);
	(void)reconsider(b);
	if (!b->ledger.oldest)
		atomic_store(&b->read_at, 0);
}

/* Counts the next window, and drops it while there is too much. Pages that are their file's storage
 * are no cache, and dropping others makes no room for them. */
static void look_at_window(struct wloadfs *fs, struct look *look)
{
	const struct wload_shard *shard = wload_checkpoint_shard(fs->ckpt, look->shard);
	uint64_t lo = look->offset, bytes = 0, gone = 0, kept;
	uint64_t hi = shard->bytes - lo < LOOK_WINDOW ? shard->bytes : lo + LOOK_WINDOW;
	bool unknown = false;

	if (fs->shard_evictable[look->shard])
		unknown = residency_bytes(&fs->features, shard->fd, lo, hi, &bytes) < 0;
	/* Who may not count may drop all the same; but not what was read ahead. */
	if ((bytes && look->excess) || (unknown && !fs->prefetch))
		gone = residency_drop(&fs->features, shard->fd, lo, hi, &kept);
	atomic_fetch_add(&fs->evicted_bytes, gone);
	look->excess -= gone < look->excess ? gone : look->excess;
	look->gone += gone;
	look->sum += gone < bytes ? bytes - gone : 0;
	look->offset = hi;
	if (hi == shard->bytes) {
		look->shard++;
		look->offset = 0;
	}
}

/* All is counted. What is too much goes with another look, at once; where that finds nothing that
 * goes, it stays until the next. */
static void end_look(struct budget *b, uint64_t now)
{
	uint64_t pause = b->look.worked_ns * LOOK_COSTS, sum = b->look.sum;
	bool in_vain = b->look.dropping && b->look.gone == 0;

	pthread_mutex_lock(&b->lock);
	sum += b->ledger.used_bytes;
	pthread_mutex_unlock(&b->lock);
	if (sum > b->limit_bytes && !in_vain)
		b->look = (struct look){.dropping = true, .excess = sum - b->limit_bytes};
	else
		b->look = (struct look){.at = now + (pause > LOOK_NS ? pause : LOOK_NS)};
}

static void go_on_looking(struct wloadfs *fs)
{
	uint32_t shards = wload_checkpoint_shard_count(fs->ckpt);
	struct look *look = &fs->budget->look;
	uint64_t begun = clock_ns(), now = begun;

	for (; look->shard < shards && now - begun < SLICE_NS; now = clock_ns())
		look_at_window(fs, look);
	look->worked_ns += now - begun;
	if (look->shard == shards)
		end_look(fs->budget, now);
}

void budget_look(struct wloadfs *fs)
{
	struct budget *b = fs->budget;

	if (!b || atomic_load(&fs->stopping))
		return;
	empty_if_idle(fs);
	if (b->limit_bytes && clock_ns() >= b->look.at)
		go_on_looking(fs);
}

/* ---- beginning and end ---- */

static void free_budget(struct budget *b)
{
	ledger_free(&b->ledger);
	pthread_mutex_destroy(&b->lock);
	free(b->first_bit);
	free(b->dropped);
	free(b);
}

/* How many bytes of FUSE pages there may be. Less than what was asked for: prefetch= holds pages of
 * the shards' own, reads pass through some, and READs that can't be parked come on top. */
static uint64_t window_bytes(const struct wloadfs *fs)
{
	uint64_t bytes = fs->asked.budget_bytes - fs->asked.prefetch_bytes;

	bytes -= bytes / 8 < RESERVE_MAX ? bytes / 8 : RESERVE_MAX;
	if (!fs->asked.budget_bytes || (fs->asked.consume_read && bytes > CONSUME_READ_BYTES))
		bytes = CONSUME_READ_BYTES;
	return bytes;
}

int budget_start(struct wloadfs *fs)
{
	struct budget *b;
	int r;

	if (!fs->asked.budget_bytes && !fs->asked.consume_read)
		return 0;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	b->limit_bytes = fs->asked.budget_bytes;
	r = ledger_init(&b->ledger, fs->page_bytes, window_bytes(fs));
	if (r == 0)
		r = make_bits(fs, b);
	if (r == 0)
		r = gate_start(fs, admit_parked, &b->gate);
	if (r < 0) {
		free_budget(b);
		return r;
	}
	fs->budget = b;
	return 0;
}

/* Many streams, each with two pieces read ahead, must fit the window. */
void budget_open(struct wloadfs *fs)
{
	uint64_t bytes = fs->budget->ledger.limit_bytes / READ_AHEAD_SHARE;

	readahead_widen(fs, bytes < READ_AHEAD_MAX ? bytes : READ_AHEAD_MAX);
}

void budget_stop(struct wloadfs *fs)
{
	struct budget *b = fs->budget;

	if (!b)
		return;
	gate_stop(b->gate);
	fs->budget = NULL;
	free_budget(b);
}

bool budget_numbers(struct wloadfs *fs, uint64_t *ret_window_bytes, uint64_t *ret_used_bytes)
{
	struct budget *b = fs->budget;

	if (!b)
		return false;
	LOCK_SCOPE(&b->lock);

	*ret_window_bytes = b->ledger.limit_bytes;
	*ret_used_bytes = b->ledger.used_bytes;
	return true;
}

void budget_json(struct wloadfs *fs, struct text *text)
{
	struct budget *b = fs->budget;

	if (!b) {
		text_printf(text, "null");
		return;
	}
	LOCK_SCOPE(&b->lock);

	text_printf(text, "{\"limit_bytes\": ");
	if (b->limit_bytes)
		text_printf(text, "%" PRIu64, b->limit_bytes);
	else
		text_printf(text, "null");
	text_printf(text,
		    ", \"window_bytes\": %" PRIu64 ", \"used_bytes\": %" PRIu64
		    ", \"peak_bytes\": %" PRIu64 ", \"evicted_bytes\": %" PRIu64
		    ", \"parked_reads\": %" PRIu64 "}",
		    b->ledger.limit_bytes, b->ledger.used_bytes, b->ledger.peak_bytes,
		    b->ledger.evicted_bytes, gate_parked(b->gate));
}
