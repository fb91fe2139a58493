/* SPDX-License-Identifier: Apache-2.0 */
/* Names the features and tells of them (features.h). */

#include <errno.h>
#include <string.h>

#include "fs/features.h"

#define OPTION_PREFIX "no_"

static const struct {
	const char *name;
	const char *without; /* how it is without, for --help */
} known[FEATURES] = {
	[FEATURE_PASSTHROUGH] = {"passthrough", "shards read by this daemon, as shards=served"},
	[FEATURE_DIRECT_MMAP] = {"direct_mmap", "tensor files through the page cache (before 6.6)"},
	[FEATURE_EPOCH] = {"epoch", "names forgotten one by one (before 6.16)"},
	[FEATURE_PARALLEL_DIROPS] = {"parallel_dirops", "one look-up at a time in a folder"},
	[FEATURE_READDIRPLUS] = {"readdirplus", "listings without attributes"},
	[FEATURE_ASYNC_READ] = {"async_read", "one read-ahead of a file at a time"},
	[FEATURE_ASYNC_DIO] = {"async_dio", "parts of a direct read one after the other"},
	[FEATURE_EXPLICIT_INVAL] = {"explicit_inval", "the kernel may drop pages by itself"},
	[FEATURE_LARGE_REQUESTS] = {"large_requests", "reads of 128 KiB, not 1 MiB (before 4.20)"},
	[FEATURE_CACHESTAT] = {"cachestat", "cached pages counted by mincore (before 6.5)"},
	[FEATURE_READ_AHEAD] = {"read_ahead", "cached files read ahead 128 KiB, not up to 1 MiB"},
	[FEATURE_DONTCACHE] = {"dontcache", "a budget's reads dropped by fadvise (before 6.14)"},
	[FEATURE_SPLIT] = {"split", "large folios that neighbours share stay (before 5.14)"},
};

void feature_off(struct features *features, enum feature feature, int reason)
{
	int in_use = FEATURE_IN_USE;

	atomic_compare_exchange_strong(&features->reason[feature], &in_use, reason);
}

const char *feature_name(enum feature feature)
{
	return known[feature].name;
}

const char *feature_why(const struct features *features, enum feature feature)
{
	int reason = feature_reason(features, feature);

	switch (reason) {
	case FEATURE_IN_USE:
		return NULL;
	case FEATURE_UNWANTED:
		return "asked for";
	case FEATURE_MISSING:
		return "the kernel does not offer it";
	case ELOOP: /* only backing files meet it, and not for a link */
		return "the files lie on filesystems that are stacked too deep";
	default:
		return strerror(reason);
	}
}

enum feature feature_of_option(const char *option)
{
	size_t prefix = strlen(OPTION_PREFIX);

	if (strncmp(option, OPTION_PREFIX, prefix) != 0)
		return FEATURES;
	for (int i = 0; i < FEATURES; i++)
		if (strcmp(option + prefix, known[i].name) == 0)
			return (enum feature)i;
	return FEATURES;
}

void features_json(const struct features *features, struct text *text)
{
	text_printf(text, "{");
	for (int i = 0; i < FEATURES; i++) {
		const char *why = feature_why(features, (enum feature)i);

		text_printf(text, "%s\n    \"%s\": {\"on\": %s, \"why\": ", i ? "," : "",
			    known[i].name, why ? "false" : "true");
		if (why)
			text_json_string(text, why);
		else
			text_printf(text, "null");
		text_printf(text, "}");
	}
	text_printf(text, "\n  }");
}

void features_help(struct text *text)
{
	for (int i = 0; i < FEATURES; i++)
		text_printf(text, "    -o " OPTION_PREFIX "%-16s %s\n", known[i].name,
			    known[i].without);
}
