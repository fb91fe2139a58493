/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_INDEX_H
#define WLOAD_CHECKPOINT_INDEX_H

/* The shard index, "*.safetensors.index.json", as transformers' save_pretrained writes it: an
 * object whose member "weight_map" maps each tensor's name to the shard file that holds it. All
 * other members are ignored. */

#include "wloadfs/tensor.h"

#define INDEX_BYTES_MAX	 ((size_t)256 << 20)
#define INDEX_SHARDS_MAX 65536u

struct index_entry {
	uint64_t name; /* offset into names */
	uint32_t shard;
};

/* A parsed index. Start from {0}. */
struct shard_index {
	struct index_entry *entries; /* sorted by name, no name twice */
	size_t count;
	const char **shards; /* file names, sorted, no one twice */
	uint32_t shard_count;
	char *names; /* one block of C strings */
	char *files; /* another */
};

/* Parses an index.
 *
 * Returns 0, or
 *   -EBADMSG     it is not such an object, or gives one tensor two shards
 *   -EOPNOTSUPP  a shard's path is absolute or has a ".." component
 *   -E2BIG       over INDEX_BYTES_MAX or INDEX_SHARDS_MAX
 *   -ENOMEM */
int index_parse(const uint8_t *text, size_t len, struct shard_index *ret_index,
		struct wload_error *err);

static inline const char *index_name(const struct shard_index *index, size_t entry)
{
	return index->names + index->entries[entry].name;
}

/* Frees what the index holds. */
void index_clear(struct shard_index *index);

#endif
