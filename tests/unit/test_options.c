/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/options: what is taken, and the line that is printed for what is not. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/options.h"
#include "tap.h"

static const struct option_desc table[] = {
	{"device", 0, "DEVICE", "where to", OPTION_DEVICE, offsetof(struct options, device), 0, 0},
	{"out", 0, "DIR", "write there", OPTION_TEXT, offsetof(struct options, out), 0, 0},
	{"staging", 0, "SIZE", "buffers", OPTION_SIZE, offsetof(struct options, staging), 131072,
	 1 << 20},
	{"threads", 0, "N", "readers", OPTION_NUMBER, offsetof(struct options, threads), 1, 8},
	{"all", 'a', NULL, "everything", OPTION_FLAG, offsetof(struct options, all), 0, 0},
	{"details", 'l', NULL, "long", OPTION_FLAG, offsetof(struct options, details), 0, 0},
	{0},
};

static const struct {
	const char *name;
	const char *args[8];
	unsigned int args_max;
	struct options want;
} good[] = {
	{"nothing", {NULL}, 1, {0}},
	{"a path", {"p"}, 1, {.path = "p"}},
	{"a path and a prefix", {"p", "m.0"}, 2, {.path = "p", .prefix = "m.0"}},
	{"value behind", {"--device", "host", "p"}, 1, {.path = "p", .device = "host"}},
	{"value after =", {"p", "--device=null"}, 1, {.path = "p", .device = "null"}},
	{"cuda:N", {"--device=cuda:7"}, 1, {.device = "cuda:7"}},
	{"the last one wins", {"--device=null", "--device=host"}, 1, {.device = "host"}},
	{"a value that looks like an option", {"--out", "--all"}, 1, {.out = "--all"}},
	{"-- ends options", {"--all", "--", "--out"}, 1, {.path = "--out", .all = true}},
	{"a dash alone is a path", {"-"}, 1, {.path = "-"}},
	{"letters together", {"-al", "p"}, 1, {.path = "p", .all = true, .details = true}},
	{"size", {"--staging", "256K"}, 1, {.staging = 256 << 10}},
	{"size at its lower bound", {"--staging=131072"}, 1, {.staging = 131072}},
	{"size at its upper bound", {"--staging=1M"}, 1, {.staging = 1 << 20}},
	{"number", {"--threads=8"}, 1, {.threads = 8}},
};

static const struct {
	const char *name;
	const char *args[8];
	unsigned int args_max;
	const char *want;
} bad[] = {
	{"unknown", {"--frobnicate=1"}, 1, "unknown option '--frobnicate'"},
	{"a prefix of an option", {"--dev", "host"}, 1, "unknown option '--dev'"},
	{"unknown letter", {"-lx"}, 1, "unknown option '-x'"},
	{"value missing", {"--out"}, 1, "--out: the value is missing, want DIR"},
	{"value empty", {"--out="}, 1, "--out: the value is empty, want DIR"},
	{"value of a flag", {"--all=yes"}, 1, "--all takes no value, got 'yes'"},
	{"a device of no kind",
	 {"--device", "gpu"},
	 1,
	 "--device: 'gpu' is none of auto, cuda, cuda:N, host, null"},
	{"a device number that is none",
	 {"--device", "cuda:x"},
	 1,
	 "--device: 'cuda:x' is none of auto, cuda, cuda:N, host, null"},
	{"too small",
	 {"--staging=127K"},
	 1,
	 "--staging: '127K' is not a size from 131072 to 1048576"},
	{"too large", {"--staging=1G"}, 1, "--staging: '1G' is not a size from 131072 to 1048576"},
	{"negative", {"--threads", "-1"}, 1, "--threads: '-1' is not a number from 1 to 8"},
	{"a number with a suffix",
	 {"--threads", "1K"},
	 1,
	 "--threads: '1K' is not a number from 1 to 8"},
	{"a second argument", {"p", "q"}, 1, "unexpected argument 'q'"},
	{"a third argument", {"p", "q", "r"}, 2, "unexpected argument 'r'"},
};

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same(const struct options *a, const struct options *b)
{
	return same_text(a->path, b->path) && same_text(a->prefix, b->prefix) &&
	       same_text(a->device, b->device) && same_text(a->out, b->out) &&
	       a->staging == b->staging && a->threads == b->threads && a->all == b->all &&
	       a->details == b->details;
}

int main(void)
{
	struct text help CLEANUP(text_free) = {0};
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct wload_error err = {0};
		struct options got;

		ok(&tap,
		   options_parse(table, good[i].args_max, (char *const *)good[i].args, &got,
				 &err) == 0 &&
			   same(&got, &good[i].want),
		   "taken: %s%s", good[i].name, err.text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wload_error err = {0};
		struct options got;

		ok(&tap,
		   options_parse(table, bad[i].args_max, (char *const *)bad[i].args, &got, &err) <
				   0 &&
			   !strcmp(err.text, bad[i].want),
		   "refused: %s: %s", bad[i].name, err.text);
	}
	options_help(table, &help);
	ok(&tap, strstr(help.s, "  --device DEVICE            where to\n") != NULL,
	   "help: a value");
	ok(&tap, strstr(help.s, "  -l, --details              long\n") != NULL, "help: a letter");
	return tap_done(&tap);
}
