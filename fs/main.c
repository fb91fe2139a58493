/* SPDX-License-Identifier: Apache-2.0 */
/* wloadfs: mounts a checkpoint.
 *
 * Into the background it forks before anything else, so that no thread or descriptor is lost by it.
 * The child does everything and reports on the terminal; the parent waits for its word that the
 * mount stands, asks the mount something itself, and only then returns 0. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/cmdline.h"
#include "fs/control.h"
#include "fs/log.h"
#include "fs/session.h"
#include "fs/trace.h"
#include "fs/trace_report.h"
#include "loader/base/cleanup.h"
#include "loader/base/heap.h"
#include "wloadfs/version.h"

#define EXIT_USAGE 2

static void warn(void *ctx, const char *text)
{
	(void)ctx;
	log_say(text);
}

/* Looks at the mountpoint before anything is built: a folder, and not a dead mount. */
static int check_mountpoint(const char *given, char **ret_path, struct stat *ret_st,
			    struct wload_error *err)
{
	CLEANUP_FREE char *path = NULL;
	struct statfs fs;

	/* statfs() asks the daemon; stat() may still be answered from what the kernel remembers. */
	if (statfs(given, &fs) < 0 && errno == ENOTCONN)
		return wload_fail(err, ENOTCONN,
				  "mountpoint '%s' is a mount whose daemon is gone; clear it with "
				  "'fusermount3 -u %s'",
				  given, given);
	path = realpath(given, NULL);
	if (!path || stat(path, ret_st) < 0)
		return wload_fail(err, errno, "mountpoint '%s': %s", given, strerror(errno));
	if (!S_ISDIR(ret_st->st_mode))
		return wload_fail(err, ENOTDIR, "mountpoint '%s' is not a folder", given);
	*ret_path = TAKE_PTR(path);
	return 0;
}

/* Tells the parent that the mount stands, and lets go of the terminal. */
static void ready(void *ctx)
{
	int *pipe_fd = ctx, null;

	if (*pipe_fd < 0)
		return;
	(void)!write(*pipe_fd, "", 1);
	close(TAKE_FD(*pipe_fd));
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		close(null);
	log_to_syslog();
}

static int mount_and_serve(struct cmdline *cmdline, int pipe_fd)
{
	struct wload_checkpoint *ckpt = NULL;
	CLEANUP_FREE char *mountpoint = NULL;
	struct wloadfs fs = {0};
	struct wload_error err = {0};
	struct stat at;
	int r = check_mountpoint(cmdline->mountpoint, &mountpoint, &at, &err);

	if (r == 0)
		r = wload_checkpoint_open(cmdline->checkpoint, NULL, NULL, &ckpt, &err);
	if (r == 0) {
		const char *text;

		for (uint32_t i = 0; (text = wload_checkpoint_warning(ckpt, i)); i++)
			log_say(text);
		fs.shards_mode = cmdline->shards_mode;
		fs.ranks = cmdline->ranks;
		fs.mountpoint = mountpoint;
		fs.asked = cmdline->asked;
		fs.plan = cmdline->plan;
		for (int i = 0; i < FEATURES; i++)
			if (cmdline->without[i])
				feature_off(&fs.features, (enum feature)i, FEATURE_UNWANTED);
		fs.wire.features = &fs.features;
		r = fs_init(&fs, ckpt, at.st_dev, at.st_ino, warn, NULL, &err);
		if (r == 0 && cmdline->trace && trace_start(&fs) < 0)
			r = wload_fail(&err, ENOMEM, "out of memory for the trace");
		/* Nothing may keep a folder busy that somebody wants to unmount. */
		if (r == 0 && chdir("/") < 0)
			r = wload_fail(&err, errno, "cannot change to '/': %s", strerror(errno));
		if (r == 0)
			r = session_run(&fs, cmdline, mountpoint, ready, &pipe_fd, &err);
		if (r == 0)
			trace_report_log(&fs);
		fs_free(&fs);
	}
	if (r < 0)
		log_say(err.text);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Asks the mount for something only the daemon can answer. */
static bool answers(const char *mountpoint)
{
	CLEANUP_FREE char *path = NULL;
	struct stat st;

	return asprintf(&path, "%s/.wload/%s", mountpoint, control_name(CONTROL_CONSUME)) >= 0 &&
	       stat(path, &st) == 0;
}

/* The parent's part: waits for the child's word, or its end. */
static int wait_for_mount(pid_t child, int pipe_fd, const char *mountpoint)
{
	struct statfs fs;
	char byte;
	ssize_t n;
	int status;

	while ((n = read(pipe_fd, &byte, 1)) < 0 && errno == EINTR)
		;
	if (n == 1 && answers(mountpoint))
		return EXIT_SUCCESS;
	if (n == 1) {
		log_say("the mount was made and does not answer");
		kill(child, SIGTERM);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	/* The child takes its mount away itself, unless it died: then what is there is dead too. */
	if (n == 1 && statfs(mountpoint, &fs) < 0 && errno == ENOTCONN)
		(void)umount2(mountpoint, MNT_DETACH);
	if (n != 1 && WIFSIGNALED(status))
		(void)fprintf(stderr, "wloadfs: the daemon died of signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int run_in_background(struct cmdline *cmdline)
{
	int fds[2];
	pid_t child;
	int r;

	if (pipe2(fds, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		(void)fprintf(stderr, "wloadfs: cannot fork: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	if (child > 0) {
		close(fds[1]);
		r = wait_for_mount(child, fds[0], cmdline->mountpoint);
		close(fds[0]);
		return r;
	}
	close(fds[0]);
	(void)setsid();
	return mount_and_serve(cmdline, fds[1]);
}

static int print_version(void)
{
	return printf("wloadfs %s\nlibfuse %s\n", WLOAD_VERSION, fuse_pkgversion()) < 0 ||
	       fflush(stdout) != 0;
}

static int print_help(void)
{
	struct text text CLEANUP(text_free) = {0};

	cmdline_help(&text);
	return text.failed || fputs(text.s, stdout) < 0 || fflush(stdout) != 0;
}

int main(int argc, char **argv)
{
	struct cmdline cmdline CLEANUP(cmdline_free) = {0};
	struct wload_error err;

	heap_return_large_blocks();
	if (cmdline_parse(argc, argv, &cmdline, &err) < 0) {
		(void)fprintf(stderr, "wloadfs: %s; 'wloadfs --help' lists what is\n", err.text);
		return EXIT_USAGE;
	}
	if (cmdline.help)
		return print_help();
	if (cmdline.version)
		return print_version();
	return cmdline.foreground ? mount_and_serve(&cmdline, -1) : run_in_background(&cmdline);
}
