/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FS_H
#define WLOADFS_FS_H

/* One mount's state. Everything but what the comments put under a lock is fixed once the session
 * runs; nothing that waits (a reply, an invalidation, I/O) happens under a lock. */

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "fs/claims.h"
#include "fs/features.h"
#include "fs/modules.h"
#include "fs/names.h"
#include "fs/own.h"
#include "fs/served.h"
#include "fs/wire.h"
#include "wloadfs/checkpoint.h"
#include "wloadfs/plan.h"

/* How the checkpoint's own files reach their readers. */
enum shards_mode { SHARDS_AUTO, SHARDS_PASSTHROUGH, SHARDS_SERVED };

/* What the page cache is to hold (budget.h, prefetch.h); 0: not asked for. */
struct memory_asked {
	uint64_t budget_bytes, prefetch_bytes;
	bool consume_read;
};

/* What fused/ and the ranks' checkpoints are to be (plans.h). */
struct plan_asked {
	uint32_t tp, ep; /* 0: ranks have what the root has */
	enum wload_layout layout;
	enum wload_names names;	   /* of a rank's checkpoint */
	const char *rules_path;	   /* absolute; borrowed; NULL: the built-in rules */
	struct wload_rules *rules; /* read from there; owned by plans.c */
};

/* Counts of one tensor's names and handles, so that only what the kernel knows is invalidated. */
enum tensor_seen {
	SEEN_TENSOR = 1, /* its raw inode was looked up */
	SEEN_NPY = 2,	 /* its .npy inode was looked up */
	SEEN_OPEN = 4,	 /* one of them was opened: the kernel may hold pages */
};

struct tensor_state {
	_Atomic uint8_t seen;	/* enum tensor_seen bits, only ever added */
	_Atomic uint32_t opens; /* handles now */
};

/* What the kernel was told of one claimant's tree. */
struct known {
	_Atomic uint8_t *module_life; /* of each folder of modules/, see node.h; odd: removed */
	_Atomic uint8_t tensors_life, npys_life, fused_life;
	struct tensor_state *tensor; /* atomics, no lock */
};

/* One of the checkpoint's files while somebody has it open. */
struct own_open {
	uint32_t opens;	   /* under own_lock, like the rest */
	bool opening;	   /* the first open is under way, outside of the lock */
	int backing_id;	   /* > 0: passthrough */
	int fd;		   /* served from here; valid while opens > 0 */
	uint64_t dev, ino; /* of the file behind it */
};

/* How much of the checkpoint was in the page cache at most (peak.h). */
struct peak {
	_Atomic uint64_t bytes;
	_Atomic uint64_t next_us; /* when to count again, by CLOCK_MONOTONIC */
	_Atomic bool watched;	  /* something is going on */
};

struct ahead;
struct layer_runs;
struct trace;
struct budget;
struct plans;
struct fused_state;
struct prefetch;
struct evictor;
struct control_handle;

struct wloadfs {
	struct wload_checkpoint *ckpt;
	const struct wload_inventory *inv;
	struct modules modules;
	struct names names;
	struct own own;
	struct features features;
	struct wire wire;
	struct fuse_session *session;
	struct evictor *evictor;
	struct ahead *ahead; /* NULL where nothing is read ahead */
	struct trace *trace; /* NULL without -o trace */

	struct prefetch *prefetch; /* NULL without -o prefetch= */
	struct budget *budget;	   /* NULL where neither -o budget= nor consume=read is */

	const char *mountpoint;	      /* absolute; borrowed */
	enum shards_mode shards_mode; /* as asked for */
	uint32_t ranks;		      /* as asked for; 0: none */
	struct memory_asked asked;
	struct plan_asked plan;
	uid_t uid;
	gid_t gid;
	struct timespec mounted_at;
	uint64_t page_bytes;
	mode_t *shard_mode;    /* permission bits of each shard's file */
	bool *shard_evictable; /* its filesystem has a page cache behind it (not tmpfs) */

	pthread_mutex_t lock; /* consumption: claims, and the lives of known's folders */
	struct claims claims;
	struct known *known; /* of each claimant: the root, then the ranks */

	struct plans *plans;	   /* NULL: there is no fused/ */
	struct fused_state *fused; /* of each claimant; atomics */

	pthread_mutex_t own_lock;
	pthread_cond_t own_opened;			  /* an opening is over */
	struct own_open *own_open;			  /* one an entry of own; under own_lock */
	_Atomic bool passthrough_tried;			  /* with a shard */
	_Atomic uint32_t passthrough_opens, served_opens; /* of the checkpoint's own files */
	_Atomic uint32_t registrations;			  /* of backing files, all so far */
	struct served served;

	pthread_mutex_t control_lock;
	struct index_file *index;  /* line table, made at its first look-up; under control_lock */
	struct layer_runs *layers; /* made at the first need; under control_lock */
	struct control_handle *controls; /* the open ones; under control_lock */

	struct peak peak;
	_Atomic bool readahead_widened; /* or tried to */
	_Atomic bool stopping;		/* the session ends: no more invalidation of pages */
	_Atomic uint64_t bytes_served;	/* by READ */
	_Atomic uint64_t evicted_bytes;
	_Atomic uint64_t reread_bytes; /* by READs, of what this mount had dropped */
	_Atomic uint64_t *held_bytes;  /* of each shard: dead, and still cached at the last look */
	_Atomic bool *recheck;	       /* of each shard: something was held since that look */
};

/* Claimants: the mount itself and its ranks. */
static inline uint32_t fs_claimants(const struct wloadfs *fs)
{
	return 1 + fs->claims.ranks;
}

/* Is a tensor gone from this claimant's tree? */
static inline bool fs_is_done(const struct wloadfs *fs, uint32_t who, uint32_t tensor)
{
	return claims_done(&fs->claims, who, tensor);
}

/* Does nobody need a tensor any more? */
static inline bool fs_is_consumed(const struct wloadfs *fs, uint32_t tensor)
{
	return consumed_has(&fs->claims.consumed, tensor);
}

/* Builds all that needs no session: names, modules, own files, consumption.
 *
 * ckpt  given away, closed by fs_free()
 *
 * Returns 0 or -errno with err filled. */
int fs_init(struct wloadfs *fs, struct wload_checkpoint *ckpt, uint64_t skip_dev, uint64_t skip_ino,
	    own_warn warn, void *warn_ctx, struct wload_error *err);
void fs_free(struct wloadfs *fs);

#endif
