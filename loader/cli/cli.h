/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_H
#define WLOAD_CLI_H

/* What main.c and the commands share. */

#include "loader/cli/options.h"
#include "wloadfs/checkpoint.h"
#include "wloadfs/loader.h"

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct command {
	const char *name;
	const char *arguments; /* for the usage line: "PATH [PREFIX]" */
	const char *summary;   /* one line */
	const char *details;   /* more lines for --help, or NULL */
	unsigned int args_max;
	const struct option_desc *options;

	/* Does it. Prints its result on stdout; a failure is in err.
	 *
	 * Returns 0, CLI_USAGE when the options contradict each other, or another -errno. */
	int (*run)(const struct options *options, struct wload_error *err);
};

/* Not an errno: the caller's words make no sense (exit 2). */
#define CLI_USAGE (-0x10000)

int cli_usage(struct wload_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* These mean the same everywhere. */
#define OPTION_ROW_JSON                                                                          \
	{                                                                                        \
		"json", 0, NULL, "print JSON", OPTION_FLAG, offsetof(struct options, json), 0, 0 \
	}
#define OPTION_ROW_RULES                                                                       \
	{                                                                                      \
		"rules", 0, "FILE", "fuse and split by these rules, not by the built-in ones", \
			OPTION_TEXT, offsetof(struct options, rules), 0, 0                     \
	}
#define OPTION_ROW_TP                                                             \
	{                                                                         \
		"tp", 0, "N", "split for N tensor-parallel ranks", OPTION_NUMBER, \
			offsetof(struct options, tp), 1, WLOAD_TP_MAX             \
	}
#define OPTION_ROW_NAMES                                                                  \
	{                                                                                 \
		"names", 0, "fused|hf", "what rules make, or own tensors", OPTION_CHOICE, \
			offsetof(struct options, names), 0, 0 /* as enum wload_names */   \
	}
#define OPTION_ROW_EP                                                                  \
	{                                                                              \
		"ep", 0, "M", "share experts out among M of the ranks", OPTION_NUMBER, \
			offsetof(struct options, ep), 1, WLOAD_TP_MAX                  \
	}
#define OPTION_ROW_LAYOUT                                                                    \
	{                                                                                    \
		"layout", 0, "trtllm|vllm", "whose names and orders; trtllm", OPTION_CHOICE, \
			offsetof(struct options, layout), 0, 0 /* as enum wload_layout */    \
	}
#define OPTION_ROW_DEQUANTISE                                                          \
	{                                                                              \
		"dequantise", 0, NULL, "make numbers of FP8, NVFP4 and MXFP4 weights", \
			OPTION_FLAG, offsetof(struct options, dequantise), 0, 0        \
	}
#define OPTION_ROW_DTYPE                                                                       \
	{                                                                                      \
		"dtype", 0, "bf16|f16|f32", "cast numbers to it, and dequantise to it",        \
			OPTION_CHOICE, offsetof(struct options, dtype), 0, 0 /* cli_dtype() */ \
	}
#define OPTION_ROW_SWIZZLE                                                                  \
	{                                                                                   \
		"swizzle", 0, NULL, "NVFP4's block scales in tiles of 128 rows, 4 columns", \
			OPTION_FLAG, offsetof(struct options, swizzle), 0, 0                \
	}
#define OPTION_ROW_RANK                                                                        \
	{                                                                                      \
		"rank", 0, "R", "which of them, from 0; default: PATH's, or 0", OPTION_NUMBER, \
			offsetof(struct options, rank), 0, WLOAD_TP_MAX - 1                    \
	}
#define OPTION_ROW_HELP                                                                            \
	{                                                                                          \
		"help", 'h', NULL, "print this", OPTION_FLAG, offsetof(struct options, help), 0, 0 \
	}

/* Checks that "--rank" is one of the "--tp" ranks. Returns 0 or CLI_USAGE. */
int cli_check_rank(const struct options *options, struct wload_error *err);

/* "--rank" as the loader takes it: WLOAD_RANK_OF_PATH where it was not given. */
uint32_t cli_rank(const struct options *options);

/* "--dtype", or WLOAD_DTYPE_BOOL where it was not given. */
enum wload_dtype cli_dtype(const struct options *options);

extern const struct command command_load;
extern const struct command command_plan;
extern const struct command command_ls;
extern const struct command command_consume;
extern const struct command command_restore;
extern const struct command command_release;
extern const struct command command_stats;

/* Prints a line about something that did not stop the command. */
void cli_warn(const char *text);

/* Prints the warnings of a checkpoint. */
void cli_warn_of(const struct wload_checkpoint *ckpt);

/* Writes a text to stdout; nothing when it is empty. Returns 0, or -ENOMEM with err
 * filled when the text failed. That stdout took it is checked once, by main. */
int cli_print(const struct text *text, struct wload_error *err);

#endif
