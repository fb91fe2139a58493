/* SPDX-License-Identifier: Apache-2.0 */
/* Small things that every command needs. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "loader/cli/cli.h"
#include "wloadfs/mount.h"

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

int cli_is_mount(const char *path, bool *ret_mount, struct wload_error *err)
{
	struct wload_mount *mount;
	int r = wload_mount_open(path, &mount, err);

	if (r < 0 && r != -ENODEV)
		return r;
	*ret_mount = r == 0;
	if (r == 0)
		wload_mount_close(mount);
	return 0;
}

int cli_print(const struct text *text, struct wload_error *err)
{
	if (text->failed)
		return wload_fail(err, ENOMEM, "out of memory");
	if (text->len)
		(void)fwrite(text->s, 1, text->len, stdout);
	return 0;
}
