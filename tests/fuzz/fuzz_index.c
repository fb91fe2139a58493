/* SPDX-License-Identifier: Apache-2.0 */
/* Property: an accepted index has each name once, in order, each in a shard that it lists, and
 * every shard stays inside the folder. */

#include <assert.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *text, size_t len)
{
	struct shard_index index CLEANUP(index_clear) = {0};
	size_t i;

	if (index_parse(text, len, &index, NULL) < 0)
		return 0;
	for (i = 0; i < index.count; i++) {
		assert(i == 0 || strcmp(index_name(&index, i - 1), index_name(&index, i)) < 0);
		assert(index.entries[i].shard < index.shard_count);
	}
	for (i = 0; i < index.shard_count; i++) {
		assert(i == 0 || strcmp(index.shards[i - 1], index.shards[i]) < 0);
		assert(index.shards[i][0] != '/' && strncmp(index.shards[i], "../", 3) != 0);
		assert(!strstr(index.shards[i], "/../") && strcmp(index.shards[i], "..") != 0);
	}
	return 0;
}
