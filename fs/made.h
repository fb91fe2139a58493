/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_MADE_H
#define WLOADFS_MADE_H

/* A rank's checkpoint: the files that are made of a plan's parameters, laid out as `wload load
 * --out` writes them (loader/plan/out_layout.h), so that both are the same bytes.
 *
 *   model-00001-of-00002.safetensors   [header][parameter][parameter]…
 *   model-00002-of-00002.safetensors   [header][parameter]…
 *   model.safetensors.index.json       which is where
 *
 * One shard is model.safetensors; it has an index too. Pure. */

#include <stdbool.h>

#include "loader/plan/out_layout.h"

struct made {
	struct out_layout layout;
	uint64_t *header_len; /* of each shard */
	uint64_t *bytes;      /* of each file, the index behind the shards */
};

/* Lays the files out.
 *
 * Returns 0, -EINVAL, -E2BIG or -ENOMEM with err filled; made_free() either way. */
int made_build(const struct wload_plan *plan, uint64_t shard_bytes, struct made *ret,
	       struct wload_error *err);
void made_free(struct made *made);

/* How many files there are: the shards, and the index as the last. */
static inline uint32_t made_files(const struct made *made)
{
	return made->layout.shards + 1;
}

static inline bool made_is_index(const struct made *made, uint32_t file)
{
	return file == made->layout.shards;
}

void made_name(const struct made *made, uint32_t file, char name[OUT_FILE_NAME_MAX]);

/* Finds a file by its name. Returns 0 or -ENOENT. */
int made_find(const struct made *made, const char *name, uint32_t *ret_file);

/* Makes the text of a file: of a shard its header, of the index all of it; allocated, given away.
 */
int made_text(const struct made *made, const struct wload_plan *plan, uint32_t file,
	      uint8_t **ret_bytes, size_t *ret_len, struct wload_error *err);

/* Bytes of a parameter in one of the files. */
struct made_piece {
	uint32_t param;
	uint64_t offset; /* in the parameter */
	uint64_t bytes;
};

/* The parameter's bytes at an offset of a shard that is behind its header, up to the end of the
 * parameter. Returns false at the end of the file. */
bool made_piece(const struct made *made, const struct wload_plan *plan, uint32_t file,
		uint64_t offset, struct made_piece *ret);

/* Where a parameter begins in its file, whose number is set. */
uint64_t made_offset(const struct made *made, uint32_t param, uint32_t *ret_file);

#endif
