/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a shard index into two sorted lists: entries (name, shard) and shards.
 *
 * 180,364 entries name 80 files, mostly runs of the same one. A file name that differs from the one
 * before it is looked up in a small direct-mapped cache; a miss adds one more *spelling*. In the
 * end the spellings are sorted, equal ones become one shard, and each entry's spelling is replaced
 * by its shard. So the work stays n log n whatever the index says. */

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/index.h"
#include "loader/checkpoint/json_reader.h"
#include "loader/checkpoint/name_order.h"

#define SHOWN "'%.300s'"

enum { CACHE_SLOTS = 256 };

struct builder {
	struct json_reader json;
	struct shard_index *index;
	size_t entries_cap, names_len, names_cap, files_len, files_cap;
	size_t *spellings; /* offsets into index->files */
	size_t spelling_count, spellings_cap;
	uint32_t cache[CACHE_SLOTS]; /* spelling + 1 */
	struct wload_error *err;
};

static int no_memory(struct builder *b)
{
	return wload_fail(b->err, ENOMEM, "out of memory for the index");
}

static int malformed(struct builder *b, const char *what)
{
	if (b->json.code)
		return json_fail(&b->json, b->err);
	return wload_fail(b->err, EBADMSG, "%s", what);
}

/* ---- shard files ---------------------------------------------------------------------------- */

static bool has_component(const char *path, size_t len, const char *component)
{
	size_t i, start = 0, want = strlen(component);

	for (i = 0; i <= len; i++) {
		if (i < len && path[i] != '/')
			continue;
		if (i - start == want && memcmp(path + start, component, want) == 0)
			return true;
		start = i + 1;
	}
	return false;
}

static int check_file(struct builder *b, const char *file, size_t len)
{
	int shown = len < 300 ? (int)len : 300;

	if (len == 0 || memmem(file, len, "\xc0\x80", 2))
		return wload_fail(b->err, EBADMSG, "'%.*s' can't be the name of a shard", shown,
				  file);
	if (file[0] == '/')
		return wload_fail(b->err, EOPNOTSUPP, "the shard '%.*s' has an absolute path",
				  shown, file);
	if (has_component(file, len, ".."))
		return wload_fail(b->err, EOPNOTSUPP, "the shard '%.*s' may be outside the folder",
				  shown, file);
	return 0;
}

static uint8_t cache_slot(const char *file, size_t len)
{
	uint32_t hash = 2166136261u;
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)file[i]) * 16777619u;
	return (uint8_t)(hash >> 24);
}

static bool is_spelling(const struct builder *b, uint32_t spelling, const char *file, size_t len)
{
	const char *known = b->index->files + b->spellings[spelling];

	return strncmp(known, file, len) == 0 && known[len] == '\0';
}

static int find_spelling(struct builder *b, const char *file, size_t len, uint32_t *ret)
{
	uint32_t *cached = &b->cache[cache_slot(file, len)];
	int r;

	if (*cached > 0 && is_spelling(b, *cached - 1, file, len)) {
		*ret = *cached - 1;
		return 0;
	}
	r = check_file(b, file, len);
	if (r < 0)
		return r;
	if (!grow_array(&b->index->files, &b->files_cap, b->files_len + len + 1, 1) ||
	    !grow_array(&b->spellings, &b->spellings_cap, b->spelling_count + 1,
			sizeof(*b->spellings)))
		return no_memory(b);
	memcpy(b->index->files + b->files_len, file, len);
	b->index->files[b->files_len + len] = '\0';
	b->spellings[b->spelling_count] = b->files_len;
	b->files_len += len + 1;
	*ret = (uint32_t)b->spelling_count++;
	*cached = *ret + 1;
	return 0;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

/* Adds the entry whose name was just read and whose shard comes next. */
static int parse_entry(struct builder *b)
{
	struct shard_index *index = b->index;
	const char *name = b->json.string;
	size_t len = b->json.string_len;
	struct index_entry entry = {.name = b->names_len};
	int r;

	if (!grow_array(&index->names, &b->names_cap, b->names_len + len + 1, 1) ||
	    !grow_array(&index->entries, &b->entries_cap, index->count + 1, sizeof(entry)))
		return no_memory(b);
	memcpy(index->names + b->names_len, name, len);
	index->names[b->names_len + len] = '\0';
	b->names_len += len + 1;
	if (json_next(&b->json) != JSON_STRING) {
		if (b->json.code)
			return json_fail(&b->json, b->err);
		return wload_fail(b->err, EBADMSG, "the shard of tensor " SHOWN " is not a string",
				  index->names + entry.name);
	}
	r = find_spelling(b, b->json.string, b->json.string_len, &entry.shard);
	if (r == 0)
		index->entries[index->count++] = entry;
	return r;
}

static int parse_weight_map(struct builder *b)
{
	enum json_token token;
	int r;

	if (json_next(&b->json) != JSON_OBJECT)
		return malformed(b, "its weight_map is not an object");
	while ((token = json_next(&b->json)) == JSON_NAME) {
		r = parse_entry(b);
		if (r < 0)
			return r;
	}
	return token == JSON_OBJECT_END ? 0 : malformed(b, "");
}

static int parse_members(struct builder *b)
{
	bool seen = false;
	enum json_token token;
	int r;

	if (json_next(&b->json) != JSON_OBJECT)
		return malformed(b, "it is not a JSON object");
	while ((token = json_next(&b->json)) == JSON_NAME) {
		if (b->json.string_len != 10 || memcmp(b->json.string, "weight_map", 10) != 0) {
			if (json_skip(&b->json) == JSON_BAD)
				return malformed(b, "");
			continue;
		}
		if (seen)
			return malformed(b, "it has two members 'weight_map'");
		seen = true;
		r = parse_weight_map(b);
		if (r < 0)
			return r;
	}
	if (token != JSON_OBJECT_END || json_next(&b->json) != JSON_END)
		return malformed(b, "");
	return seen ? 0 : malformed(b, "it has no member 'weight_map'");
}

/* ---- order ---------------------------------------------------------------------------------- */

/* Sorts the spellings into index->shards and translates the entries. */
static int number_shards(struct builder *b)
{
	struct shard_index *index = b->index;
	struct name_ref *refs CLEANUP_FREE = calloc(b->spelling_count + 1, sizeof(*refs));
	uint32_t *shard_of CLEANUP_FREE = calloc(b->spelling_count + 1, sizeof(*shard_of));
	uint32_t count = 0;
	size_t i;

	if (!refs || !shard_of)
		return no_memory(b);
	for (i = 0; i < b->spelling_count; i++)
		refs[i] = (struct name_ref){index->files + b->spellings[i], (uint32_t)i, 0};
	name_order_sort(refs, b->spelling_count);
	for (i = 0; i < b->spelling_count; i++) {
		count += i == 0 || strcmp(refs[i - 1].name, refs[i].name) != 0;
		shard_of[refs[i].id] = count - 1;
	}
	if (count > INDEX_SHARDS_MAX)
		return wload_fail(b->err, E2BIG, "%u shards are over the limit of %u", count,
				  INDEX_SHARDS_MAX);
	index->shards = calloc(count + 1, sizeof(*index->shards));
	if (!index->shards)
		return no_memory(b);
	for (i = 0; i < b->spelling_count; i++)
		index->shards[shard_of[refs[i].id]] = refs[i].name;
	index->shard_count = count;
	for (i = 0; i < index->count; i++)
		index->entries[i].shard = shard_of[index->entries[i].shard];
	return 0;
}

static int sort_entries(struct builder *b)
{
	struct shard_index *index = b->index;
	struct name_ref *refs CLEANUP_FREE = calloc(index->count + 1, sizeof(*refs));
	struct index_entry *sorted CLEANUP_FREE = calloc(index->count + 1, sizeof(*sorted));
	const struct index_entry *entry;
	size_t i, kept = 0;

	if (!refs || !sorted)
		return no_memory(b);
	for (i = 0; i < index->count; i++)
		refs[i] = (struct name_ref){index_name(index, i), (uint32_t)i, 0};
	name_order_sort(refs, index->count);
	for (i = 0; i < index->count; i++) {
		entry = &index->entries[refs[i].id];
		if (i == 0 || strcmp(refs[i - 1].name, refs[i].name) != 0)
			sorted[kept++] = *entry;
		else if (sorted[kept - 1].shard != entry->shard)
			return wload_fail(b->err, EBADMSG,
					  "tensor " SHOWN " is placed in '%.300s' and in '%.300s'",
					  refs[i].name, index->shards[sorted[kept - 1].shard],
					  index->shards[entry->shard]);
	}
	free(index->entries);
	index->entries = TAKE_PTR(sorted);
	index->count = kept;
	return 0;
}

int index_parse(const uint8_t *text, size_t len, struct shard_index *ret_index,
		struct wload_error *err)
{
	struct shard_index index CLEANUP(index_clear) = {0};
	struct builder b = {.index = &index, .err = err};
	int r;

	if (len > INDEX_BYTES_MAX)
		return wload_fail(err, E2BIG, "%zu bytes are over the limit of %zu", len,
				  INDEX_BYTES_MAX);
	json_start(&b.json, text, len);
	r = parse_members(&b);
	json_finish(&b.json);
	if (r == 0)
		r = number_shards(&b);
	if (r == 0)
		r = sort_entries(&b);
	free(b.spellings);
	if (r < 0)
		return r;
	*ret_index = index;
	index = (struct shard_index){0};
	return 0;
}

void index_clear(struct shard_index *index)
{
	free(index->entries);
	free(index->shards);
	free(index->names);
	free(index->files);
	*index = (struct shard_index){0};
}
