/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SOURCE_TEXT_H
#define WLOAD_SOURCE_TEXT_H

/* The lines of a mount's index.jsonl and its stats.json (wloadfs/mount.h), understood. Pure.
 * Members that aren't known are passed over. */

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

struct source_backing {
	char *name; /* of the shard */
	char *path;
	uint64_t dev, ino, bytes, mtime_ns;
};

struct source_head {
	char *file; /* NULL: a folder was mounted */
	struct source_backing *shards;
	size_t count, cap;
};

/* Reads index.jsonl's first line. Returns 0, -EBADMSG or -ENOMEM; source_head_free() either way. */
int source_parse_head(const char *line, size_t len, struct source_head *ret_head,
		      struct wload_error *err);
void source_head_free(struct source_head *head);

/* The shard of that name, or NULL. */
const struct source_backing *source_head_find(const struct source_head *head, const char *name);

/* Reads a tensor's line.
 *
 * ret_name   allocated, given away; NULL when the tensor is not consumed
 *
 * Returns 0, -EBADMSG or -ENOMEM. */
int source_parse_consumed(const char *line, size_t len, char **ret_name, struct wload_error *err);

/* Reads the members of stats.json that a load needs; one that is missing is 0. */
int source_parse_stats(const char *text, size_t len, uint64_t *ret_pid, uint64_t *ret_consumed,
		       struct wload_error *err);

#endif
