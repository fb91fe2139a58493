/* SPDX-License-Identifier: Apache-2.0 */
/* Builds and takes down one mount's state (fs.h). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/fs.h"
#include "fs/fused.h"
#include "fs/index.h"
#include "fs/layer_runs.h"
#include "fs/ownfile.h"
#include "fs/residency.h"
#include "fs/trace.h"
#include "fs/tree.h"

/* statfs f_type of filesystems whose pages are their storage: nothing to evict (linux/magic.h). */
#define MAGIC_TMPFS	0x01021994
#define MAGIC_RAMFS	0x858458f6
#define MAGIC_HUGETLBFS 0x958458f6

static bool is_evictable(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) < 0)
		return true;
	return s.f_type != MAGIC_TMPFS && (unsigned long)s.f_type != MAGIC_RAMFS &&
	       (unsigned long)s.f_type != MAGIC_HUGETLBFS;
}

static void look_at_shards(struct wloadfs *fs, uint32_t shards)
{
	for (uint32_t i = 0; i < shards; i++) {
		int fd = wload_checkpoint_shard(fs->ckpt, i)->fd;
		struct stat st;

		fs->shard_evictable[i] = is_evictable(fd);
		fs->shard_mode[i] = fstat(fd, &st) == 0 ? tree_shard_mode(fs, &st) : 0600;
	}
}

/* Zeroed pages that nobody touches take no memory: trees that are not looked at are free. */
static int allocate_known(struct wloadfs *fs)
{
	size_t tensors = (size_t)wload_inventory_count(fs->inv) + 1;

	fs->known = calloc(fs_claimants(fs), sizeof(*fs->known));
	if (!fs->known)
		return -ENOMEM;
	for (uint32_t who = 0; who < fs_claimants(fs); who++) {
		struct known *known = &fs->known[who];

		known->module_life = calloc(fs->modules.count, sizeof(*known->module_life));
		known->tensor = calloc(tensors, sizeof(*known->tensor));
		if (!known->module_life || !known->tensor)
			return -ENOMEM;
	}
	return 0;
}

static void free_known(struct wloadfs *fs)
{
	for (uint32_t who = 0; fs->known && who < fs_claimants(fs); who++) {
		free(fs->known[who].module_life);
		free(fs->known[who].tensor);
	}
	free(fs->known);
}

static int allocate(struct wloadfs *fs)
{
	size_t shards = wload_checkpoint_shard_count(fs->ckpt) + 1;
	int r;

	fs->own_open = calloc(fs->own.count, sizeof(*fs->own_open));
	fs->shard_mode = calloc(shards, sizeof(*fs->shard_mode));
	fs->shard_evictable = calloc(shards, sizeof(*fs->shard_evictable));
	fs->held_bytes = calloc(shards, sizeof(*fs->held_bytes));
	fs->recheck = calloc(shards, sizeof(*fs->recheck));
	if (!fs->own_open || !fs->shard_mode || !fs->shard_evictable || !fs->held_bytes ||
	    !fs->recheck || claims_init(&fs->claims, fs->inv, fs->ranks) < 0)
		return -ENOMEM;
	r = served_init(&fs->served, &fs->own, wload_checkpoint_shard_count(fs->ckpt));
	if (r == 0)
		r = allocate_known(fs);
	return r < 0 ? r : fused_init(fs);
}

int fs_init(struct wloadfs *fs, struct wload_checkpoint *ckpt, uint64_t skip_dev, uint64_t skip_ino,
	    own_warn warn, void *warn_ctx, struct wload_error *err)
{
	int r;

	fs->ckpt = ckpt;
	fs->inv = wload_checkpoint_inventory(ckpt);
	fs->uid = geteuid();
	fs->gid = getegid();
	fs->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	clock_gettime(CLOCK_REALTIME, &fs->mounted_at);
	pthread_mutex_init(&fs->lock, NULL);
	pthread_mutex_init(&fs->own_lock, NULL);
	pthread_cond_init(&fs->own_opened, NULL);
	pthread_mutex_init(&fs->control_lock, NULL);

	r = names_build(fs->inv, &fs->names, err);
	if (r < 0)
		return r;
	r = modules_build(fs->inv, &fs->modules);
	if (r < 0)
		return wload_fail(err, -r, "cannot build modules/: %s", strerror(-r));
	r = plans_start(fs, warn, warn_ctx, err);
	if (r < 0)
		return r;
	r = own_read(ckpt, skip_dev, skip_ino, tree_reserved(fs), warn, warn_ctx, &fs->own, err);
	if (r < 0)
		return r;
	r = allocate(fs);
	if (r < 0)
		return wload_fail(err, -r, "out of memory for %u tensors",
				  wload_inventory_count(fs->inv));
	residency_probe(&fs->features);
	look_at_shards(fs, wload_checkpoint_shard_count(ckpt));
	return 0;
}

void fs_free(struct wloadfs *fs)
{
	/* The kernel sends no RELEASE for what is open when a session ends. */
	control_release_all(fs);
	ownfile_release_all(fs);
	index_free(fs->index);
	free_known(fs);
	fused_free(fs);
	plans_free(fs);
	claims_free(&fs->claims);
	trace_free(fs);
	if (fs->layers)
		layer_runs_free(fs->layers);
	free(fs->layers);
	served_free(&fs->served);
	free(fs->own_open);
	free(fs->shard_mode);
	free(fs->shard_evictable);
	free(fs->held_bytes);
	free(fs->recheck);
	own_free(&fs->own);
	modules_free(&fs->modules);
	names_free(&fs->names);
	wload_checkpoint_close(fs->ckpt);
	pthread_mutex_destroy(&fs->lock);
	pthread_cond_destroy(&fs->own_opened);
	pthread_mutex_destroy(&fs->own_lock);
	pthread_mutex_destroy(&fs->control_lock);
}

struct wire *wire_of(void *userdata)
{
	return &((struct wloadfs *)userdata)->wire;
}
