/* SPDX-License-Identifier: Apache-2.0 */
/* Generates .wload/index.jsonl (see index.h). */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fs/index.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "loader/checkpoint/names.h"

#define LINES_A_MARK 64

struct index_file {
	struct text head; /* the first line */
	uint64_t *mark;	  /* offset of tensor 64 * i's line */
	uint64_t size;
};

static void add_shard(struct text *text, const struct wload_shard *shard)
{
	text_printf(text, "{\"name\": ");
	text_json_string(text, shard->name);
	text_printf(text, ", \"path\": ");
	text_json_string(text, shard->path);
	text_printf(text,
		    ", \"dev\": %" PRIu64 ", \"ino\": %" PRIu64 ", \"bytes\": %" PRIu64
		    ", \"mtime_ns\": %" PRId64 "}",
		    shard->dev, shard->ino, shard->bytes, shard->mtime_ns);
}

static void add_head(struct text *text, const struct wloadfs *fs)
{
	const char *file = wload_checkpoint_file(fs->ckpt);

	text_printf(text, "{\"checkpoint\": ");
	text_json_string(text, wload_checkpoint_folder(fs->ckpt));
	text_printf(text, ", \"file\": ");
	if (file)
		text_json_string(text, file);
	else
		text_printf(text, "null");
	text_printf(text, ", \"tensors\": %" PRIu32 ", \"shards\": [",
		    wload_inventory_count(fs->inv));
	for (uint32_t i = 0; i < wload_checkpoint_shard_count(fs->ckpt); i++) {
		text_printf(text, "%s", i ? ", " : "");
		add_shard(text, wload_checkpoint_shard(fs->ckpt, i));
	}
	text_printf(text, "]}\n");
}

/* One tensor's line. Both spellings of the state are equally long. */
static void add_line(struct text *text, const struct wloadfs *fs, uint32_t who, uint32_t index)
{
	struct wload_tensor t = wload_inventory_tensor(fs->inv, index);
	char file[256];

	name_to_file(t.name, strlen(t.name), "", file);
	text_add(text, "{\"name\": ", 9);
	text_json_string(text, t.name);
	text_add(text, ", \"file\": ", 10);
	text_json_string(text, file);
	text_printf(text, ", \"dtype\": \"%s\", \"shape\": [", wload_dtype_describe(t.dtype)->name);
	for (uint32_t i = 0; i < t.rank; i++)
		text_printf(text, "%s%" PRIu64, i ? ", " : "", t.shape[i]);
	text_printf(text,
		    "], \"shard\": %" PRIu32 ", \"offset\": %" PRIu64 ", \"bytes\": %" PRIu64
		    ", \"state\": %s}\n",
		    t.shard, t.offset, t.bytes,
		    fs_is_done(fs, who, index) ? "\"consumed\"" : "\"live\"    ");
}

int index_build(const struct wloadfs *fs, struct index_file **ret)
{
	uint32_t count = wload_inventory_count(fs->inv);
	struct text line CLEANUP(text_free) = {0};
	struct index_file *index = calloc(1, sizeof(*index));

	if (index)
		index->mark = calloc(count / LINES_A_MARK + 1, sizeof(*index->mark));
	if (!index || !index->mark) {
		index_free(index);
		return -ENOMEM;
	}
	add_head(&index->head, fs);
	index->size = index->head.len;
	for (uint32_t i = 0; i < count; i++) {
		if (i % LINES_A_MARK == 0)
			index->mark[i / LINES_A_MARK] = index->size;
		line.len = 0;
		add_line(&line, fs, CLAIMS_ROOT, i);
		index->size += line.len;
	}
	if (index->head.failed || line.failed) {
		index_free(index);
		return -ENOMEM;
	}
	*ret = index;
	return 0;
}

void index_free(struct index_file *index)
{
	if (!index)
		return;
	text_free(&index->head);
	free(index->mark);
	free(index);
}

uint64_t index_size(const struct index_file *index)
{
	return index->size;
}

/* The last mark at or before an offset behind the head. */
static uint32_t mark_before(const struct index_file *index, uint32_t marks, uint64_t offset)
{
	uint32_t lo = 0, hi = marks;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (index->mark[mid] <= offset)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

ssize_t index_read(const struct wloadfs *fs, uint32_t who, const struct index_file *index,
		   uint64_t offset, size_t len, char *buf)
{
	struct text text CLEANUP(text_free) = {0};
	uint32_t count = wload_inventory_count(fs->inv), tensor = 0;
	uint64_t start = 0;

	if (offset >= index->size)
		return 0;
	if (len > index->size - offset)
		len = (size_t)(index->size - offset);
	if (offset < index->head.len) {
		text_add(&text, index->head.s, index->head.len);
	} else {
		uint32_t mark = mark_before(index, (count - 1) / LINES_A_MARK + 1, offset);

		tensor = mark * LINES_A_MARK;
		start = index->mark[mark];
	}
	while (start + text.len < offset + len && tensor < count && !text.failed)
		add_line(&text, fs, who, tensor++);
	if (text.failed)
		return -ENOMEM;
	memcpy(buf, text.s + (offset - start), len);
	return (ssize_t)len;
}
