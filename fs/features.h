/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FEATURES_H
#define WLOADFS_FEATURES_H

/* The kernel's means that a mount uses where there are: which, the option that does without each,
 * and why one is not in use. Each is found out where it is first used; here is only what is known.
 *
 * The one idea: a feature is in use until something speaks against it, and the first reason stays.
 * So a switch on the command line, an older kernel and a refusal all take the same way through the
 * code, which is how the ways of older kernels are tested on this one. */

#include <stdatomic.h>
#include <stdbool.h>

#include "loader/base/text.h"

enum feature {
	FEATURE_PASSTHROUGH,
	FEATURE_DIRECT_MMAP,
	FEATURE_EPOCH,
	FEATURE_PARALLEL_DIROPS,
	FEATURE_READDIRPLUS,
	FEATURE_ASYNC_READ,
	FEATURE_ASYNC_DIO,
	FEATURE_EXPLICIT_INVAL,
	FEATURE_LARGE_REQUESTS,
	FEATURE_CACHESTAT,
	FEATURE_SPLIT,
	FEATURE_DONTCACHE,
	FEATURE_READ_AHEAD,
	FEATURES
};

/* Why a feature is not in use; an errno (> 0) is what the kernel answered to its use. */
enum feature_reason { FEATURE_IN_USE = 0, FEATURE_UNWANTED = -1, FEATURE_MISSING = -2 };

struct features {
	_Atomic int reason[FEATURES]; /* enum feature_reason, or an errno */
};

static inline int feature_reason(const struct features *features, enum feature feature)
{
	return atomic_load(&features->reason[feature]);
}

static inline bool feature_on(const struct features *features, enum feature feature)
{
	return feature_reason(features, feature) == FEATURE_IN_USE;
}

/* Takes a feature out of use, if it still is in use. Any thread. */
void feature_off(struct features *features, enum feature feature, int reason);

/* As in stats.json, and behind "no_" on the command line. */
const char *feature_name(enum feature feature);

/* The reason in words, or NULL where it is in use. */
const char *feature_why(const struct features *features, enum feature feature);

/* The feature that an -o option switches off, or FEATURES. */
enum feature feature_of_option(const char *option);

/* Appends an object: for each feature, by its name, whether it is on and why not. */
void features_json(const struct features *features, struct text *text);

/* Appends the lines of --help: an option for each feature. */
void features_help(struct text *text);

#endif
