/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a mount (session.h). The evictor ends before the workers do, on a signal by signals.c; when
 * the mount was taken away from outside, the connection is gone and nothing waits for anything. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/ahead.h"
#include "fs/budget.h"
#include "fs/evict.h"
#include "fs/log.h"
#include "fs/ops.h"
#include "fs/prefetch.h"
#include "fs/session.h"
#include "fs/signals.h"
#include "loader/base/cleanup.h"

#define THREADS_DEFAULT_MIN 4u
#define THREADS_DEFAULT_MAX 64u

/* Adds -o options of our own: what the mount is, and that the kernel checks permissions, without
 * which allow_other would let any user consume. */
static int add_options(struct wloadfs *fs, struct fuse_args *args)
{
	CLEANUP_FREE char *fsname = NULL;
	char *opts = NULL;
	int r;

	if (asprintf(&fsname, "fsname=%s", wload_checkpoint_folder(fs->ckpt)) < 0)
		return -ENOMEM;
	r = fuse_opt_add_opt_escaped(&opts, fsname);
	if (r == 0)
		r = fuse_opt_add_opt(&opts, "subtype=wloadfs,default_permissions");
	if (r == 0)
		r = fuse_opt_insert_arg(args, 1, opts);
	if (r == 0)
		r = fuse_opt_insert_arg(args, 1, "-o");
	free(opts);
	return r < 0 ? -ENOMEM : 0;
}

static unsigned int worker_count(const struct cmdline *cmdline)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned int n = cpus > 0 ? (unsigned int)cpus * 2 : THREADS_DEFAULT_MIN;

	if (cmdline->max_threads)
		return cmdline->max_threads;
	if (n < THREADS_DEFAULT_MIN)
		return THREADS_DEFAULT_MIN;
	return n < THREADS_DEFAULT_MAX ? n : THREADS_DEFAULT_MAX;
}

static int serve(struct wloadfs *fs, const struct cmdline *cmdline)
{
	struct fuse_loop_config *config;
	int r;

	if (cmdline->single_thread)
		return fuse_session_loop(fs->session);
	config = fuse_loop_cfg_create();
	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, (unsigned int)cmdline->clone_fd);
	fuse_loop_cfg_set_max_threads(config, worker_count(cmdline));
	r = fuse_session_loop_mt(fs->session, config);
	fuse_loop_cfg_destroy(config);
	return r;
}

/* With the session mounted: attaches, starts the threads beside the workers, serves. */
static int run_mounted(struct wloadfs *fs, const struct cmdline *cmdline, const char *mountpoint,
		       void (*ready)(void *ctx), void *ctx, struct wload_error *err)
{
	struct signals *signals = NULL;
	int r = wire_attach(&fs->wire, fs->session);

	if (r == 0)
		r = budget_start(fs);
	if (r == 0)
		r = evictor_start(fs);
	if (r == 0)
		r = prefetch_start(fs);
	if (r == 0)
		r = signals_start(fs, &signals);
	if (r < 0) {
		if (fs->evictor)
			evictor_stop(fs);
		prefetch_stop(fs);
		budget_stop(fs);
		return wload_fail(err, -r, "cannot start serving '%s': %s", mountpoint,
				  strerror(-r));
	}
	if (!fs->budget)
		(void)ahead_start(fs); /* everything works without */
	ready(ctx);
	r = serve(fs, cmdline);
	/* The mount was taken away: by umount -f, by fusectl, at times by the end of a lazy
	 * unmount. Others of these end with ENODEV, which libfuse takes for the end that it is. */
	if (r == -ECONNABORTED)
		r = 0;
	signals_stop(signals);
	evictor_stop(fs);
	ahead_stop(fs);
	/* First what still answers READs, which tell the prefetch. */
	budget_stop(fs);
	prefetch_stop(fs);
	if (r < 0)
		return wload_fail(err, -r, "serving '%s' ended: %s", mountpoint, strerror(-r));
	return 0;
}

int session_run(struct wloadfs *fs, struct cmdline *cmdline, const char *mountpoint,
		void (*ready)(void *ctx), void *ctx, struct wload_error *err)
{
	const char *why = log_fuse_collected();
	int r = add_options(fs, &cmdline->args);

	if (r < 0 || (cmdline->debug && fuse_opt_add_arg(&cmdline->args, "-d") < 0))
		return wload_fail(err, ENOMEM, "out of memory for options");
	log_fuse_collect();
	fs->session = fuse_session_new(&cmdline->args, &ops_table, sizeof(ops_table), fs);
	if (!fs->session)
		return wload_fail(err, EINVAL, "cannot mount on '%s': %s", mountpoint, why);
	if (fuse_session_mount(fs->session, mountpoint) < 0) {
		r = wload_fail(err, EIO, "cannot mount on '%s': %s", mountpoint,
			       why[0] ? why : "fusermount3 refused");
	} else {
		log_fuse_say(cmdline->debug);
		r = run_mounted(fs, cmdline, mountpoint, ready, ctx, err);
		fuse_session_unmount(fs->session);
	}
	fuse_session_destroy(fs->session);
	evictor_free(fs);
	return r;
}
