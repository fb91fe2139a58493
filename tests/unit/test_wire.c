/* SPDX-License-Identifier: Apache-2.0 */
/* fs/wire: what is agreed with kernels that offer little, much, or what nobody wants. And
 * fs/features: the first reason stays, and every option finds its feature. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/wire.h"
#include "loader/base/cleanup.h"
#include "tap.h"

static const enum feature agreed[] = {
	FEATURE_PASSTHROUGH,	 FEATURE_DIRECT_MMAP,	 FEATURE_EPOCH,
	FEATURE_PARALLEL_DIROPS, FEATURE_READDIRPLUS,	 FEATURE_ASYNC_READ,
	FEATURE_ASYNC_DIO,	 FEATURE_EXPLICIT_INVAL, FEATURE_LARGE_REQUESTS,
};

struct wire *wire_of(void *userdata)
{
	return userdata;
}

/* A kernel's INIT, as libfuse shows it before our say. */
static struct fuse_conn_info offer(unsigned int minor, unsigned int capable)
{
	return (struct fuse_conn_info){
		.proto_major = 7,
		.proto_minor = minor,
		.capable = capable,
		.want = capable &
			(FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_ASYNC_READ),
		.max_write = 1u << 20};
}

static bool all_are(const struct features *features, int reason)
{
	for (size_t i = 0; i < sizeof(agreed) / sizeof(agreed[0]); i++)
		if (feature_reason(features, agreed[i]) != reason)
			return false;
	return true;
}

static void test_old_kernel(struct tap *tap)
{
	struct features features = {0};
	struct wire wire = {.features = &features};
	struct fuse_conn_info conn = offer(27, 0);

	wire_negotiate(&wire, &conn);
	ok(tap, all_are(&features, FEATURE_MISSING), "old kernel: nothing is in use");
	ok(tap, conn.want == 0, "old kernel: nothing is asked for");
	ok(tap, conn.max_write == 128u << 10, "old kernel: small requests");
	ok(tap, wire.kernel_minor == 27, "old kernel: its protocol is known");
}

static void test_new_kernel(struct tap *tap)
{
	struct features features = {0};
	struct wire wire = {.features = &features, .offered2 = UINT32_MAX};
	struct fuse_conn_info conn = offer(45, UINT32_MAX);

	wire_negotiate(&wire, &conn);
	ok(tap, all_are(&features, FEATURE_IN_USE), "new kernel: everything is in use");
	ok(tap, conn.want & FUSE_CAP_EXPLICIT_INVAL_DATA, "new kernel: we tell what changes");
	ok(tap, !(conn.want & (FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ATOMIC_O_TRUNC)),
	   "new kernel: it neither guesses what changes nor truncates");
	ok(tap, conn.max_write == 1u << 20, "new kernel: large requests");
}

static void test_unwanted(struct tap *tap)
{
	for (int offered = 0; offered < 2; offered++) {
		struct features features = {0};
		struct wire wire = {.features = &features, .offered2 = offered ? UINT32_MAX : 0};
		struct fuse_conn_info conn = offer(offered ? 45 : 27, offered ? UINT32_MAX : 0);

		for (int i = 0; i < FEATURES; i++)
			feature_off(&features, (enum feature)i, FEATURE_UNWANTED);
		wire_negotiate(&wire, &conn);
		ok(tap, all_are(&features, FEATURE_UNWANTED), "unwanted: stays so, offered=%d",
		   offered);
		ok(tap, conn.want == 0, "unwanted: nothing is asked for, offered=%d", offered);
	}
}

static void test_reasons(struct tap *tap)
{
	struct features features = {0};

	ok(tap, feature_why(&features, FEATURE_SPLIT) == NULL, "reason: none while in use");
	feature_off(&features, FEATURE_SPLIT, EPERM);
	feature_off(&features, FEATURE_SPLIT, FEATURE_MISSING);
	ok(tap, feature_reason(&features, FEATURE_SPLIT) == EPERM, "reason: the first stays");
	ok(tap, !strcmp(feature_why(&features, FEATURE_SPLIT), strerror(EPERM)),
	   "reason: an errno is told in words");
	feature_off(&features, FEATURE_EPOCH, FEATURE_UNWANTED);
	ok(tap, !strcmp(feature_why(&features, FEATURE_EPOCH), "asked for"), "reason: a switch");
}

static void test_options(struct tap *tap)
{
	static const char *const wrong[] = {"no_", "epoch", "no_epoch2", "no_epoc", "", "ro"};
	struct text help CLEANUP(text_free) = {0};
	char *rest = NULL;
	int found = 0;

	features_help(&help);
	for (char *line = strtok_r(help.s, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char option[64] = "";

		if (sscanf(line, " -o %63s", option) == 1 &&
		    feature_of_option(option) == (enum feature)found)
			found++;
	}
	ok(tap, found == FEATURES, "options: each line of help names its feature");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ok(tap, feature_of_option(wrong[i]) == FEATURES, "options: '%s' is none", wrong[i]);
}

int main(void)
{
	struct tap tap = {0};

	test_old_kernel(&tap);
	test_new_kernel(&tap);
	test_unwanted(&tap);
	test_reasons(&tap);
	test_options(&tap);
	return tap_done(&tap);
}
