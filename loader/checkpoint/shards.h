/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_SHARDS_H
#define WLOAD_CHECKPOINT_SHARDS_H

#include "loader/checkpoint/folder.h"
#include "loader/checkpoint/safetensors.h"
#include "wloadfs/checkpoint.h"

/* What reading one header after another keeps for the next. Start from {0}. */
struct shard_reader {
	uint8_t *bytes;
	size_t cap;
	struct safetensors_header header; /* of the shard read last */
};

/* Opens a shard, by opener or, where that is NULL, in the folder.
 *
 * ret_shard  its name, path and fd are given away; data_offset and the tensors are not known yet */
int shard_open(const struct folder *folder, const char *name, wload_shard_opener opener, void *ctx,
	       struct wload_shard *ret_shard, struct wload_error *err);

/* Closes and frees what shard_open() gave; {.fd = -1} is fine. */
void shard_close(struct wload_shard *shard);

/* Reads the shard's header into reader->header, sets shard->data_offset, and drops the header's
 * pages from the page cache. */
int shard_read_header(struct wload_shard *shard, struct shard_reader *reader,
		      struct wload_error *err);

void shard_reader_clear(struct shard_reader *reader);

/* Lets this process hold count descriptors more, as far as its hard limit goes. */
void shards_raise_limit(size_t count);

#endif
