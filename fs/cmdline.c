/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the command line with libfuse's own option parser, so that everything FUSE users expect
 * works; what is not ours goes on to libfuse and the kernel. */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cmdline.h"
#include "loader/base/cleanup.h"

#define THREADS_MAX 1024u

const char cmdline_help[] =
	"usage: wloadfs [cmdline] CHECKPOINT MOUNTPOINT\n"
	"\n"
	"Mounts a safetensors checkpoint (a folder, or one .safetensors file): every tensor is a\n"
	"file, and removing it drops its cached host memory. See wloadfs(1).\n"
	"\n"
	"    -f, --foreground       stay in the foreground\n"
	"    -d, --debug            foreground, with every request printed\n"
	"    -s, --single-thread    one worker thread\n"
	"    -h, --help             print this text\n"
	"    -V, --version          print versions\n"
	"    -o shards=MODE         how the checkpoint's own files are read: 'passthrough' (by "
	"the\n"
	"                           kernel, or not at all), 'served' (by this daemon), 'auto'\n"
	"    -o no_direct_mmap      tensor files through the page cache, as kernels before 6.6 "
	"need\n"
	"    -o max_threads=N       worker threads, 1 to 1024\n"
	"    -o clone_fd            a /dev/fuse descriptor for each worker\n"
	"    -o allow_other         other users may look (default_permissions is always on)\n"
	"    -o auto_unmount        unmount when the daemon dies\n"
	"    -o OPTION[,OPTION…]    any other option of mount.fuse3(8)\n";

#define OPTION(template, field)                              \
	{                                                    \
		template, offsetof(struct cmdline, field), 1 \
	}

static const struct fuse_opt table[] = {
	OPTION("-f", foreground),
	OPTION("--foreground", foreground),
	OPTION("-d", debug),
	OPTION("--debug", debug),
	OPTION("debug", debug),
	OPTION("-s", single_thread),
	OPTION("--single-thread", single_thread),
	OPTION("-h", help),
	OPTION("--help", help),
	OPTION("-V", version),
	OPTION("--version", version),
	OPTION("no_direct_mmap", no_direct_mmap),
	OPTION("clone_fd", clone_fd),
	{"shards=%s", offsetof(struct cmdline, shards), 0},
	{"--shards=%s", offsetof(struct cmdline, shards), 0},
	{"max_threads=%u", offsetof(struct cmdline, max_threads), 0},
	{"--max-threads=%u", offsetof(struct cmdline, max_threads), 0},
	FUSE_OPT_END,
};

/* Takes the two operands; refuses what neither we nor -o could mean. */
static int take_argument(void *ctx, const char *arg, int key, struct fuse_args *out)
{
	struct cmdline *cmdline = ctx;

	(void)out;
	if (key == FUSE_OPT_KEY_OPT)
		return arg[0] == '-' ? -1 : 1;
	if (!cmdline->checkpoint)
		cmdline->checkpoint = strdup(arg);
	else if (!cmdline->mountpoint)
		cmdline->mountpoint = strdup(arg);
	else
		return -1;
	return 0;
}

static int parse_shards(struct cmdline *cmdline, struct wload_error *err)
{
	static const char *const modes[] = {
		[SHARDS_AUTO] = "auto",
		[SHARDS_PASSTHROUGH] = "passthrough",
		[SHARDS_SERVED] = "served",
	};

	for (size_t i = 0; cmdline->shards && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(cmdline->shards, modes[i]) == 0) {
			cmdline->shards_mode = (enum shards_mode)i;
			return 0;
		}
	if (!cmdline->shards)
		return 0;
	return wload_fail(err, EINVAL,
			  "option shards='%s' is none of 'auto', 'passthrough', 'served'",
			  cmdline->shards);
}

/* The first argument that made the parser stop, for the message. */
static const char *culprit(int argc, char **argv)
{
	int operands = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-o") == 0) {
			i++;
			continue;
		}
		if (argv[i][0] != '-' && ++operands > 2)
			return argv[i];
		if (argv[i][0] == '-' && argv[i][1] != 'o' && !fuse_opt_match(table, argv[i]))
			return argv[i];
	}
	return argc > 1 ? argv[argc - 1] : "";
}

int cmdline_parse(int argc, char **argv, struct cmdline *ret, struct wload_error *err)
{
	struct cmdline cmdline CLEANUP(cmdline_free) = {.args = FUSE_ARGS_INIT(argc, argv)};
	int r;

	if (fuse_opt_parse(&cmdline.args, &cmdline, table, take_argument) < 0)
		return wload_fail(err, EINVAL, "option or operand '%s' is not understood",
				  culprit(argc, argv));
	if (!cmdline.help && !cmdline.version) {
		if (!cmdline.checkpoint || !cmdline.mountpoint)
			return wload_fail(err, EINVAL, "%s is missing",
					  cmdline.checkpoint ? "MOUNTPOINT"
							     : "CHECKPOINT MOUNTPOINT");
		r = parse_shards(&cmdline, err);
		if (r < 0)
			return r;
		if (cmdline.max_threads > THREADS_MAX)
			return wload_fail(err, EINVAL, "option max_threads=%u is over %u",
					  cmdline.max_threads, THREADS_MAX);
	}
	cmdline.foreground |= cmdline.debug;
	*ret = cmdline;
	cmdline = (struct cmdline){0};
	return 0;
}

void cmdline_free(struct cmdline *cmdline)
{
	free(cmdline->checkpoint);
	free(cmdline->mountpoint);
	free(cmdline->shards);
	fuse_opt_free_args(&cmdline->args);
	*cmdline = (struct cmdline){0};
}
