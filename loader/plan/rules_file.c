/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a rules file into memory for the parser. One byte more than the limit is asked for, to see
 * that a file is over it; a pipe or /dev/stdin serves as well as a file. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/rules.h"

int wload_rules_load(const char *path, struct wload_rules **ret_rules, struct wload_error *err)
{
	int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC);
	char *text CLEANUP_FREE = NULL;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return wload_fail(err, errno, "cannot open '%s': %s", path, strerror(errno));
	text = malloc(RULES_TEXT_MAX + 1);
	if (!text)
		return wload_fail(err, ENOMEM, "out of memory");
	while (len < RULES_TEXT_MAX + 1) {
		n = read(fd, text + len, RULES_TEXT_MAX + 1 - len);
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return wload_fail(err, errno, "cannot read '%s': %s", path,
					  strerror(errno));
		len += n > 0 ? (size_t)n : 0;
	}
	if (len > RULES_TEXT_MAX)
		return wload_fail(err, E2BIG, "'%s' has more than %zu bytes", path, RULES_TEXT_MAX);
	return wload_rules_parse(text, len, path, ret_rules, err);
}
