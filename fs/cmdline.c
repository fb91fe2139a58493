/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the command line with libfuse's own option parser, so that everything FUSE users expect
 * works; what is not ours goes on to libfuse and the kernel. */

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fs/budget.h"
#include "fs/cmdline.h"
#include "fs/log.h"
#include "fs/prefetch.h"
#include "loader/base/cleanup.h"
#include "loader/base/size.h"

#define THREADS_MAX 1024u

static const char help[] =
	"usage: wloadfs [options] CHECKPOINT MOUNTPOINT\n"
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
	"    -o ranks=N             ranks/0 to ranks/N-1, a tree for each of N consumers: what\n"
	"                           all have removed from theirs is consumed\n"
	"    -o tp=N                the same, and ranks/R is the checkpoint of rank R of N, made "
	"of\n"
	"                           extents on the fly\n"
	"    -o ep=M                with tp: experts are shared out among M of the ranks\n"
	"    -o layout=LAYOUT       'trtllm' (default) or 'vllm': whose names and orders fused/ "
	"and\n"
	"                           the ranks' checkpoints have\n"
	"    -o names=NAMES         with tp: 'fused' (default), or 'hf': a rank's checkpoint has "
	"the\n"
	"                           checkpoint's own tensors, each the rank's part\n"
	"    -o rules=FILE          rules of a family, in place of the built-in ones\n"
	"    -o trace               keep who opened, read and consumed what, in .wload/trace\n"
	"    -o budget=SIZE         at most so much of the checkpoint in the page cache (1G, 512M "
	"…,\n"
	"                           at least 16M); shards are served\n"
	"    -o consume=read        what was read once is dropped from the page cache; shards are\n"
	"                           served\n"
	"    -o prefetch=SIZE       read tensors before they are asked for, in the order of "
	"loading,\n"
	"                           at most so much ahead of what was consumed (at least 1M)\n"
	"    -o max_threads=N       worker threads, 1 to 1024\n"
	"    -o clone_fd            a /dev/fuse descriptor for each worker\n"
	"    -o allow_other         other users may look (default_permissions is always on)\n"
	"    -o auto_unmount        unmount when the daemon dies\n"
	"    -o OPTION[,OPTION…]    any other option of mount.fuse3(8)\n"
	"\n"
	"What the kernel offers is used; .wload/stats.json says what that is. To do without:\n"
	"\n";

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
	OPTION("clone_fd", clone_fd),
	OPTION("trace", trace),
	OPTION("--trace", trace),
	{"shards=%s", offsetof(struct cmdline, shards), 0},
	{"--shards=%s", offsetof(struct cmdline, shards), 0},
	{"budget=%s", offsetof(struct cmdline, budget), 0},
	{"--budget=%s", offsetof(struct cmdline, budget), 0},
	{"prefetch=%s", offsetof(struct cmdline, prefetch), 0},
	{"--prefetch=%s", offsetof(struct cmdline, prefetch), 0},
	{"consume=%s", offsetof(struct cmdline, consume), 0},
	{"--consume=%s", offsetof(struct cmdline, consume), 0},
	{"max_threads=%s", offsetof(struct cmdline, threads), 0},
	{"--max-threads=%s", offsetof(struct cmdline, threads), 0},
	{"ranks=%s", offsetof(struct cmdline, ranks_text), 0},
	{"--ranks=%s", offsetof(struct cmdline, ranks_text), 0},
	{"tp=%s", offsetof(struct cmdline, tp), 0},
	{"--tp=%s", offsetof(struct cmdline, tp), 0},
	{"ep=%s", offsetof(struct cmdline, ep), 0},
	{"--ep=%s", offsetof(struct cmdline, ep), 0},
	{"layout=%s", offsetof(struct cmdline, layout), 0},
	{"--layout=%s", offsetof(struct cmdline, layout), 0},
	{"names=%s", offsetof(struct cmdline, names), 0},
	{"--names=%s", offsetof(struct cmdline, names), 0},
	{"rules=%s", offsetof(struct cmdline, rules), 0},
	{"--rules=%s", offsetof(struct cmdline, rules), 0},
	FUSE_OPT_END,
};

/* What else -o takes; a name that ends in '=' or '-' goes on. Anything not here is a mistake, which
 * libfuse would report only after everything else was done. Left out on purpose: max_read
 * (libfuse 3.14 cannot mount with it) and subtype (wload knows the mount by ours). */
enum option_for { OPTION_FOR_LIBFUSE, OPTION_FOR_MOUNT8 /* dropped: no filesystem is to see it */ };

static const struct {
	const char *name;
	enum option_for whose;
} known[] = {
	{"allow_other", OPTION_FOR_LIBFUSE},
	{"allow_root", OPTION_FOR_LIBFUSE},
	{"auto_unmount", OPTION_FOR_LIBFUSE},
	{"default_permissions", OPTION_FOR_LIBFUSE},
	{"fsname=", OPTION_FOR_LIBFUSE},
	{"max_background=", OPTION_FOR_LIBFUSE},
	{"max_readahead=", OPTION_FOR_LIBFUSE},
	{"context=", OPTION_FOR_LIBFUSE},
	{"rw", OPTION_FOR_LIBFUSE},
	{"ro", OPTION_FOR_LIBFUSE},
	{"suid", OPTION_FOR_LIBFUSE},
	{"nosuid", OPTION_FOR_LIBFUSE},
	{"dev", OPTION_FOR_LIBFUSE},
	{"nodev", OPTION_FOR_LIBFUSE},
	{"exec", OPTION_FOR_LIBFUSE},
	{"noexec", OPTION_FOR_LIBFUSE},
	{"sync", OPTION_FOR_LIBFUSE},
	{"async", OPTION_FOR_LIBFUSE},
	{"dirsync", OPTION_FOR_LIBFUSE},
	{"atime", OPTION_FOR_LIBFUSE},
	{"noatime", OPTION_FOR_LIBFUSE},
	{"nodiratime", OPTION_FOR_LIBFUSE},
	{"relatime", OPTION_FOR_LIBFUSE},
	{"norelatime", OPTION_FOR_LIBFUSE},
	{"strictatime", OPTION_FOR_LIBFUSE},
	{"defaults", OPTION_FOR_MOUNT8},
	{"_netdev", OPTION_FOR_MOUNT8},
	{"nofail", OPTION_FOR_MOUNT8},
	{"x-", OPTION_FOR_MOUNT8},
};

static bool find_known(const char *option, enum option_for *ret_whose)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t len = strlen(known[i].name);
		bool goes_on = strchr("=-", known[i].name[len - 1]);

		if (strncmp(option, known[i].name, len) != 0 || (option[len] && !goes_on))
			continue;
		*ret_whose = known[i].whose;
		return true;
	}
	return false;
}

/* Takes the two operands; remembers the first argument that nobody knows. */
static int take_argument(void *ctx, const char *arg, int key, struct fuse_args *out)
{
	struct cmdline *cmdline = ctx;
	char **operand = &cmdline->unknown;
	enum option_for whose;
	enum feature feature;

	(void)out;
	feature = key == FUSE_OPT_KEY_OPT ? feature_of_option(arg) : FEATURES;
	if (feature != FEATURES) {
		cmdline->without[feature] = true;
		return 0;
	}
	if (key == FUSE_OPT_KEY_OPT && find_known(arg, &whose))
		return whose == OPTION_FOR_LIBFUSE;
	if (key != FUSE_OPT_KEY_OPT && !cmdline->checkpoint)
		operand = &cmdline->checkpoint;
	else if (key != FUSE_OPT_KEY_OPT && !cmdline->mountpoint)
		operand = &cmdline->mountpoint;
	if (!*operand)
		*operand = strdup(arg);
	return *operand ? 0 : -1;
}

/* An option's number, from 1 to max; *ret stays where the option was not given. */
static int parse_number(const char *option, const char *text, unsigned int max, unsigned int *ret,
			struct wload_error *err)
{
	char *end;
	unsigned long n;

	if (!text)
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || n < 1 || n > max)
		return wload_fail(err, EINVAL, "%s='%s' is not a number from 1 to %u", option, text,
				  max);
	*ret = (unsigned int)n;
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
	return wload_fail(err, EINVAL, "shards='%s' is none of 'auto', 'passthrough', 'served'",
			  cmdline->shards);
}

/* `shards=served` and `no_passthrough` are one thing; what a trace is to see has to be served. */
static int reconcile_passthrough(struct cmdline *cmdline, struct wload_error *err)
{
	bool *without = &cmdline->without[FEATURE_PASSTHROUGH];

	if (*without && cmdline->shards_mode == SHARDS_PASSTHROUGH)
		return wload_fail(err, EINVAL, "shards=passthrough and no_passthrough contradict");
	*without |= cmdline->shards_mode == SHARDS_SERVED;
	*without |= cmdline->trace && cmdline->shards_mode == SHARDS_AUTO;
	if (*without)
		cmdline->shards_mode = SHARDS_SERVED;
	return 0;
}

static int parse_bytes(const char *name, const char *text, uint64_t min, uint64_t *ret,
		       struct wload_error *err)
{
	if (text && (!size_parse(text, ret) || *ret < min))
		return wload_fail(err, EINVAL,
				  "%s='%s' is not a size of at least %" PRIu64
				  "M, as 512M, 1G or 2147483648",
				  name, text, min >> 20);
	return 0;
}

/* What the page cache is to hold. Both of what limits it need the daemon to see the reads. */
static int parse_memory(struct cmdline *cmdline, struct wload_error *err)
{
	struct memory_asked *asked = &cmdline->asked;
	int r = parse_bytes("budget", cmdline->budget, BUDGET_BYTES_MIN, &asked->budget_bytes, err);

	if (r == 0)
		r = parse_bytes("prefetch", cmdline->prefetch, PREFETCH_BYTES_MIN,
				&asked->prefetch_bytes, err);
	if (r < 0)
		return r;
	if (cmdline->consume && strcmp(cmdline->consume, "read") != 0)
		return wload_fail(err, EINVAL, "consume='%s' is not 'read'", cmdline->consume);
	asked->consume_read = cmdline->consume != NULL;
	if (asked->budget_bytes && (asked->prefetch_bytes > asked->budget_bytes ||
				    asked->budget_bytes - asked->prefetch_bytes < BUDGET_BYTES_MIN))
		return wload_fail(err, EINVAL,
				  "prefetch='%s' leaves less than %uM of budget='%s' to readers",
				  cmdline->prefetch, BUDGET_BYTES_MIN >> 20, cmdline->budget);
	if (!asked->budget_bytes && !asked->consume_read)
		return 0;
	if (cmdline->shards_mode == SHARDS_PASSTHROUGH)
		return wload_fail(err, EINVAL,
				  "%s needs to see the reads of shards, which shards=passthrough "
				  "leaves to the kernel",
				  cmdline->budget ? "budget" : "consume=read");
	cmdline->shards_mode = SHARDS_SERVED;
	return 0;
}

/* An option's word, one of two; *ret stays where the option was not given. */
static int parse_word(const char *option, const char *text, const char *const words[2],
		      unsigned int *ret, struct wload_error *err)
{
	for (unsigned int i = 0; text && i < 2; i++)
		if (strcmp(text, words[i]) == 0) {
			*ret = i;
			return 0;
		}
	if (!text)
		return 0;
	return wload_fail(err, EINVAL, "%s='%s' is neither '%s' nor '%s'", option, text, words[0],
			  words[1]);
}

/* The daemon leaves the folder it was started in. */
static int resolve_rules(struct cmdline *cmdline, struct wload_error *err)
{
	char *path = realpath(cmdline->rules, NULL);

	if (!path)
		return wload_fail(err, errno, "rules='%s': %s", cmdline->rules, strerror(errno));
	free(cmdline->rules);
	cmdline->rules = path;
	cmdline->plan.rules_path = path;
	return 0;
}

/* What ranks have. tp=N is ranks=N and more. */
static int parse_plan(struct cmdline *cmdline, struct wload_error *err)
{
	static const char *const layouts[2] = {"trtllm", "vllm"}, *const names[2] = {"fused", "hf"};
	struct plan_asked *plan = &cmdline->plan;
	unsigned int layout = 0, name = 0;
	int r = parse_number("tp", cmdline->tp, CLAIMS_RANKS_MAX, &plan->tp, err);

	if (r == 0)
		r = parse_number("ep", cmdline->ep, CLAIMS_RANKS_MAX, &plan->ep, err);
	if (r == 0)
		r = parse_word("layout", cmdline->layout, layouts, &layout, err);
	if (r == 0)
		r = parse_word("names", cmdline->names, names, &name, err);
	if (r == 0 && cmdline->rules)
		r = resolve_rules(cmdline, err);
	if (r < 0)
		return r;
	plan->layout = (enum wload_layout)layout;
	plan->names = (enum wload_names)name;
	if (!plan->tp && (cmdline->ep || cmdline->names))
		return wload_fail(err, EINVAL, "%s= is for ranks, and tp= is missing",
				  cmdline->ep ? "ep" : "names");
	if (plan->tp && cmdline->ranks && cmdline->ranks != plan->tp)
		return wload_fail(err, EINVAL, "ranks=%u and tp=%u contradict", cmdline->ranks,
				  plan->tp);
	if (plan->tp)
		cmdline->ranks = plan->tp;
	return 0;
}

int cmdline_parse(int argc, char **argv, struct cmdline *ret, struct wload_error *err)
{
	struct cmdline cmdline CLEANUP(cmdline_free) = {.args = FUSE_ARGS_INIT(argc, argv)};
	int r = 0;

	log_fuse_collect();
	if (fuse_opt_parse(&cmdline.args, &cmdline, table, take_argument) < 0)
		return wload_fail(err, EINVAL, "%s", log_fuse_collected());
	if (cmdline.unknown)
		return wload_fail(err, EINVAL, "option or operand '%s' is not understood",
				  cmdline.unknown);
	if (!cmdline.help && !cmdline.version) {
		if (!cmdline.checkpoint || !cmdline.mountpoint)
			return wload_fail(err, EINVAL, "%s is missing",
					  cmdline.checkpoint ? "MOUNTPOINT"
							     : "CHECKPOINT MOUNTPOINT");
		r = parse_shards(&cmdline, err);
		if (r == 0)
			r = parse_memory(&cmdline, err);
		if (r == 0)
			r = reconcile_passthrough(&cmdline, err);
		if (r == 0)
			r = parse_number("max_threads", cmdline.threads, THREADS_MAX,
					 &cmdline.max_threads, err);
		if (r == 0)
			r = parse_number("ranks", cmdline.ranks_text, CLAIMS_RANKS_MAX,
					 &cmdline.ranks, err);
		if (r == 0)
			r = parse_plan(&cmdline, err);
	}
	if (r < 0)
		return r;
	cmdline.foreground |= cmdline.debug;
	*ret = cmdline;
	cmdline = (struct cmdline){0};
	return 0;
}

void cmdline_free(struct cmdline *cmdline)
{
	free(cmdline->checkpoint);
	free(cmdline->mountpoint);
	free(cmdline->unknown);
	free(cmdline->shards);
	free(cmdline->threads);
	free(cmdline->ranks_text);
	free(cmdline->budget);
	free(cmdline->prefetch);
	free(cmdline->consume);
	free(cmdline->tp);
	free(cmdline->ep);
	free(cmdline->layout);
	free(cmdline->names);
	free(cmdline->rules);
	fuse_opt_free_args(&cmdline->args);
	*cmdline = (struct cmdline){0};
}

void cmdline_help(struct text *text)
{
	text_add(text, help, sizeof(help) - 1);
	features_help(text);
}
