/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that every command needs. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "loader/cli/cli.h"

int cli_usage(struct wload_error *err, const char *fmt, ...)
{
	char text[WLOAD_ERROR_TEXT];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	(void)wload_fail(err, EINVAL, "%s", text);
	return CLI_USAGE;
}

uint32_t cli_rank(const struct options *options)
{
	return options->rank == OPTION_NOT_GIVEN ? WLOAD_RANK_OF_PATH : (uint32_t)options->rank;
}

enum wload_dtype cli_dtype(const struct options *options)
{
	static const enum wload_dtype dtypes[] = {WLOAD_DTYPE_BF16, WLOAD_DTYPE_F16,
						  WLOAD_DTYPE_F32}; /* as OPTION_ROW_DTYPE */

	return options->dtype == OPTION_CHOICE_NOT_GIVEN ? WLOAD_DTYPE_BOOL
							 : dtypes[options->dtype];
}

int cli_check_rank(const struct options *options, struct wload_error *err)
{
	uint64_t tp = options->tp ? options->tp : 1;

	if (options->rank != OPTION_NOT_GIVEN && options->rank >= tp)
		return cli_usage(err, "--rank: %" PRIu64 " is not below --tp, which is %" PRIu64,
				 options->rank, tp);
	if (options->ep && tp % options->ep != 0)
		return cli_usage(err, "--ep: %" PRIu64 " is no divisor of --tp, which is %" PRIu64,
				 options->ep, tp);
	return 0;
}

void cli_warn(const char *text)
{
	(void)fprintf(stderr, "wload: warning: %s\n", text);
}

void cli_warn_of(const struct wload_checkpoint *ckpt)
{
	const char *text;

	for (uint32_t i = 0; (text = wload_checkpoint_warning(ckpt, i)); i++)
		cli_warn(text);
}

int cli_print(const struct text *text, struct wload_error *err)
{
	if (text->failed)
		return wload_fail(err, ENOMEM, "out of memory");
	if (text->len)
		(void)fwrite(text->s, 1, text->len, stdout);
	return 0;
}
