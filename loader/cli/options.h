/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_OPTIONS_H
#define WLOAD_CLI_OPTIONS_H

/* The options of a command, as a table: what parses them and what prints their help. Pure.
 *
 * "--name value", "--name=value", "-l"; they may stand anywhere, the last one wins, "--" ends them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/base/text.h"
#include "wloadfs/error.h"

/* What any command may have been told. */
struct options {
	const char *path;
	const char *prefix; /* the second argument, or NULL */
	const char *device;
	const char *out;
	const char *rules;
	const char *timeline;
	const char *key;
	uint64_t staging;
	uint64_t threads;
	uint64_t interval_ms;  /* 0: not given */
	unsigned int io;       /* enum wload_io */
	unsigned int names;    /* enum wload_names */
	uint64_t tp;	       /* 0: not given */
	uint64_t rank;	       /* OPTION_NOT_GIVEN, unless it was */
	uint64_t verify_every; /* 0: not given */
	uint64_t ep;	       /* 0: not given */
	unsigned int layout;   /* enum wload_layout */
	unsigned int dtype;    /* OPTION_CHOICE_NOT_GIVEN, unless it was; of bf16, f16, f32 */
	bool dequantise;
	bool swizzle;
	bool no_consume;
	bool release;
	bool verify;
	bool all;
	bool details;
	bool json;
	bool quiet;
	bool watch;
	bool help;
};

#define OPTION_NOT_GIVEN	UINT64_MAX
#define OPTION_CHOICE_NOT_GIVEN UINT32_MAX

enum option_kind {
	OPTION_FLAG,	/* bool */
	OPTION_TEXT,	/* const char *, not empty */
	OPTION_DEVICE,	/* const char *, of a device's form */
	OPTION_SIZE,	/* uint64_t, bytes, min … max */
	OPTION_NUMBER,	/* uint64_t, min … max */
	OPTION_SECONDS, /* uint64_t, milliseconds, min … max of them */
	OPTION_CHOICE,	/* unsigned int, which of the words in the help's value ("a|b|c") */
};

struct option_desc {
	const char *name;  /* without the dashes */
	char letter;	   /* or 0 */
	const char *value; /* what the help calls the value; NULL for a flag */
	const char *help;
	enum option_kind kind;
	size_t offset; /* of the field in struct options */
	uint64_t min, max;
};

/* Parses a command's arguments.
 *
 * table      ends with an entry without a name
 * args_max   how many arguments that are no options it takes: 1 (path) or 2 (path, prefix)
 * args       NULL-terminated, the command's name not among them
 *
 * Returns 0, or -EINVAL with a line that names the option, the value and the bound. Whether the
 * path was given is not checked. */
int options_parse(const struct option_desc *table, unsigned int args_max, char *const *args,
		  struct options *ret, struct wload_error *err);

/* Appends the table as lines of help. */
void options_help(const struct option_desc *table, struct text *text);

#endif
