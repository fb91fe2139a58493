/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the header of a safetensors file.
 *
 * One pass over the JSON fills a list of entries (their names and dimensions go to two blocks, so
 * an entry allocates nothing). Then, in the reference's order (`Metadata::deserialize`,
 * `validate`):
 *
 *     1. of two tensors with one name the later wins; the other is as if it had not been there
 *     2. sorted by (begin, end), each must begin where the one before it ended
 *     3. the product of its shape, times the width of its type, must not overflow, must be whole
 *        bytes, and must be end - begin
 *     4. the last end is the end of the file
 *
 * Oddities of the reference that are kept, because files may rely on them: a tensor may be given as
 * the array [dtype, shape, data_offsets], a dtype as {"F32": null}, unknown members are skipped,
 * "__metadata__" may be null. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/dtype.h"
#include "loader/checkpoint/json_reader.h"
#include "loader/checkpoint/name_order.h"
#include "loader/checkpoint/safetensors.h"

/* How much of a tensor's name a message shows. */
#define SHOWN "'%.300s'"

struct safetensors_entry {
	uint64_t begin, end;
	size_t name; /* offset into names */
	size_t dims; /* index into dims */
	uint32_t rank;
	uint8_t dtype;
	bool superseded; /* a later tensor has the same name */
};

struct parser {
	struct json_reader json;
	struct safetensors_header *header;
	struct wload_error *err;
};

enum field { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {"dtype", "shape", "data_offsets"};

int safetensors_read_prefix(const uint8_t *prefix, uint64_t file_bytes, uint64_t *ret_len,
			    struct wload_error *err)
{
	uint64_t len = 0;
	int i;

	if (file_bytes < SAFETENSORS_PREFIX_BYTES)
		return wload_fail(err, EBADMSG,
				  "a file of %" PRIu64 " bytes is too short for a header",
				  file_bytes);
	for (i = SAFETENSORS_PREFIX_BYTES - 1; i >= 0; i--)
		len = len << 8 | prefix[i];
	if (len > SAFETENSORS_HEADER_MAX)
		return wload_fail(err, E2BIG,
				  "the header's length %" PRIu64 " is over the limit of %" PRIu64,
				  len, SAFETENSORS_HEADER_MAX);
	if (len > file_bytes - SAFETENSORS_PREFIX_BYTES)
		return wload_fail(err, EBADMSG,
				  "a header of %" PRIu64 " bytes runs past the file's %" PRIu64,
				  len, file_bytes);
	*ret_len = len;
	return 0;
}

/* ---- one tensor ----------------------------------------------------------------------------- */

static const char *entry_name(const struct parser *p, const struct safetensors_entry *entry)
{
	return p->header->names + entry->name;
}

/* Fails for what the JSON reader says, else because the tensor's description is not as it must be.
 */
static int malformed(struct parser *p, const struct safetensors_entry *entry, const char *what)
{
	if (p->json.code)
		return json_fail(&p->json, p->err);
	return wload_fail(p->err, EBADMSG, "tensor " SHOWN ": %s", entry_name(p, entry), what);
}

static int parse_dtype(struct parser *p, struct safetensors_entry *entry)
{
	static const char what[] = "its dtype is not a string";
	struct json_reader *json = &p->json;
	enum json_token token = json_next(json);
	bool as_object = token == JSON_OBJECT;
	enum wload_dtype dtype;

	if (as_object)
		token = json_next(json);
	if (token != (as_object ? JSON_NAME : JSON_STRING))
		return malformed(p, entry, what);
	if (dtype_parse(json->string, json->string_len, &dtype) < 0)
		return wload_fail(p->err, EOPNOTSUPP, "tensor " SHOWN ": unknown dtype '%.*s'",
				  entry_name(p, entry),
				  json->string_len < 80 ? (int)json->string_len : 80, json->string);
	if (as_object && (json_next(json) != JSON_NULL || json_next(json) != JSON_OBJECT_END))
		return malformed(p, entry, what);
	entry->dtype = (uint8_t)dtype;
	return 0;
}

static int parse_shape(struct parser *p, struct safetensors_entry *entry)
{
	static const char what[] = "its shape is not an array of whole numbers below 2^64";
	struct safetensors_header *header = p->header;
	enum json_token token;

	if (json_next(&p->json) != JSON_ARRAY)
		return malformed(p, entry, what);
	entry->dims = header->dims_len;
	while ((token = json_next(&p->json)) == JSON_UINT) {
		if (!grow_array(&header->dims, &header->dims_cap, header->dims_len + 1,
				sizeof(*header->dims)))
			return wload_fail(p->err, ENOMEM, "out of memory for a header");
		header->dims[header->dims_len++] = p->json.uint;
	}
	entry->rank = (uint32_t)(header->dims_len - entry->dims);
	return token == JSON_ARRAY_END ? 0 : malformed(p, entry, what);
}

static int parse_offsets(struct parser *p, struct safetensors_entry *entry)
{
	static const char what[] = "its data_offsets are not two whole numbers below 2^64";

	if (json_next(&p->json) != JSON_ARRAY || json_next(&p->json) != JSON_UINT)
		return malformed(p, entry, what);
	entry->begin = p->json.uint;
	if (json_next(&p->json) != JSON_UINT)
		return malformed(p, entry, what);
	entry->end = p->json.uint;
	return json_next(&p->json) == JSON_ARRAY_END ? 0 : malformed(p, entry, what);
}

static int parse_field(struct parser *p, enum field field, struct safetensors_entry *entry)
{
	switch (field) {
	case FIELD_DTYPE:
		return parse_dtype(p, entry);
	case FIELD_SHAPE:
		return parse_shape(p, entry);
	default:
		return parse_offsets(p, entry);
	}
}

static bool is_string(const struct json_reader *json, const char *want)
{
	return json->string_len == strlen(want) &&
	       memcmp(json->string, want, json->string_len) == 0;
}

static enum field find_field(const struct json_reader *json)
{
	unsigned int i;

	for (i = 0; i < FIELD_COUNT; i++)
		if (is_string(json, field_names[i]))
			break;
	return (enum field)i;
}

static int parse_object(struct parser *p, struct safetensors_entry *entry)
{
	bool seen[FIELD_COUNT] = {false};
	enum json_token token;
	enum field field;
	int r;

	while ((token = json_next(&p->json)) == JSON_NAME) {
		field = find_field(&p->json);
		if (field == FIELD_COUNT) {
			if (json_skip(&p->json) == JSON_BAD)
				return malformed(p, entry, "");
			continue;
		}
		if (seen[field])
			return wload_fail(p->err, EBADMSG, "tensor " SHOWN ": two members '%s'",
					  entry_name(p, entry), field_names[field]);
		seen[field] = true;
		r = parse_field(p, field, entry);
		if (r < 0)
			return r;
	}
	if (token != JSON_OBJECT_END)
		return malformed(p, entry, "");
	for (field = 0; field < FIELD_COUNT; field++)
		if (!seen[field])
			return wload_fail(p->err, EBADMSG, "tensor " SHOWN ": no member '%s'",
					  entry_name(p, entry), field_names[field]);
	return 0;
}

static int parse_array(struct parser *p, struct safetensors_entry *entry)
{
	enum field field;
	int r;

	for (field = 0; field < FIELD_COUNT; field++) {
		r = parse_field(p, field, entry);
		if (r < 0)
			return r;
	}
	if (json_next(&p->json) != JSON_ARRAY_END)
		return malformed(p, entry, "more than dtype, shape and data_offsets");
	return 0;
}

static int parse_tensor(struct parser *p)
{
	struct safetensors_header *header = p->header;
	struct safetensors_entry entry = {.name = header->names_len};
	size_t len = p->json.string_len;
	enum json_token token;
	int r;

	if (!grow_array(&header->names, &header->names_cap, header->names_len + len + 1, 1) ||
	    !grow_array(&header->entries, &header->cap, header->count + 1, sizeof(entry)))
		return wload_fail(p->err, ENOMEM, "out of memory for a header");
	memcpy(header->names + entry.name, p->json.string, len);
	header->names[entry.name + len] = '\0';
	header->names_len += len + 1;

	token = json_next(&p->json);
	if (token == JSON_OBJECT)
		r = parse_object(p, &entry);
	else if (token == JSON_ARRAY)
		r = parse_array(p, &entry);
	else
		r = malformed(p, &entry, "its description is not an object");
	if (r == 0)
		header->entries[header->count++] = entry;
	return r;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int malformed_header(struct parser *p, const char *what)
{
	if (p->json.code)
		return json_fail(&p->json, p->err);
	return wload_fail(p->err, EBADMSG, "the header %s", what);
}

static int parse_metadata(struct parser *p)
{
	enum json_token token = json_next(&p->json);

	if (token == JSON_NULL)
		return 0;
	if (token != JSON_OBJECT)
		return malformed_header(p, "has a __metadata__ that is not an object");
	while ((token = json_next(&p->json)) == JSON_NAME)
		if (json_next(&p->json) != JSON_STRING)
			return malformed_header(p, "has a __metadata__ value that is not a string");
	return token == JSON_OBJECT_END ? 0 : malformed_header(p, "");
}

static int parse_members(struct parser *p)
{
	bool metadata_seen = false;
	enum json_token token;
	int r;

	if (json_next(&p->json) != JSON_OBJECT)
		return malformed_header(p, "is not a JSON object");
	while ((token = json_next(&p->json)) == JSON_NAME) {
		if (!is_string(&p->json, "__metadata__")) {
			r = parse_tensor(p);
		} else if (metadata_seen) {
			r = malformed_header(p, "has two members '__metadata__'");
		} else {
			metadata_seen = true;
			r = parse_metadata(p);
		}
		if (r < 0)
			return r;
	}
	if (token != JSON_OBJECT_END || json_next(&p->json) != JSON_END)
		return malformed_header(p, "");
	return 0;
}

/* Of tensors with one name, keeps the one that came last. */
static int drop_superseded(struct parser *p)
{
	struct safetensors_header *header = p->header;
	struct name_ref *refs CLEANUP_FREE = calloc(header->count + 1, sizeof(*refs));
	size_t i, kept = 0;

	if (!refs)
		return wload_fail(p->err, ENOMEM, "out of memory for a header");
	for (i = 0; i < header->count; i++)
		refs[i] = (struct name_ref){entry_name(p, &header->entries[i]), (uint32_t)i, 0};
	name_order_sort(refs, header->count);
	for (i = 1; i < header->count; i++)
		if (strcmp(refs[i - 1].name, refs[i].name) == 0)
			header->entries[refs[i - 1].id].superseded = true;
	for (i = 0; i < header->count; i++)
		if (!header->entries[i].superseded)
			header->entries[kept++] = header->entries[i];
	header->count = kept;
	return 0;
}

static int compare_entries(const void *a, const void *b, void *names)
{
	const struct safetensors_entry *x = a, *y = b;
	const char *text = names;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return strcmp(text + x->name, text + y->name);
}

static void sort_entries(struct safetensors_header *header)
{
	size_t i;

	for (i = 1; i < header->count; i++) {
		if (compare_entries(&header->entries[i - 1], &header->entries[i], header->names) <
		    0)
			continue;
		qsort_r(header->entries, header->count, sizeof(*header->entries), compare_entries,
			header->names);
		return;
	}
}

static int check_size(struct parser *p, const struct safetensors_entry *entry)
{
	const struct wload_dtype_desc *dtype = wload_dtype_describe((enum wload_dtype)entry->dtype);
	const char *name = entry_name(p, entry);
	uint64_t bits = 1;
	bool fits = true;
	uint32_t i;

	for (i = 0; i < entry->rank && fits; i++)
		fits = checked_mul(bits, p->header->dims[entry->dims + i], &bits);
	if (!fits || !checked_mul(bits, dtype->bits, &bits))
		return wload_fail(p->err, EBADMSG, "tensor " SHOWN ": its shape is over 2^64 bits",
				  name);
	if (bits % 8 != 0)
		return wload_fail(p->err, EBADMSG,
				  "tensor " SHOWN ": %" PRIu64 " bits of %s are not whole bytes",
				  name, bits, dtype->name);
	if (bits / 8 != entry->end - entry->begin)
		return wload_fail(p->err, EBADMSG,
				  "tensor " SHOWN ": its shape needs %" PRIu64
				  " bytes of %s, its data_offsets span %" PRIu64,
				  name, bits / 8, dtype->name, entry->end - entry->begin);
	return 0;
}

static int check_entry(struct parser *p, const struct safetensors_entry *entry, uint64_t before)
{
	if (entry->begin != before)
		return wload_fail(p->err, EBADMSG,
				  "tensor " SHOWN ": begins at %" PRIu64
				  ", but those before it end at "
				  "%" PRIu64,
				  entry_name(p, entry), entry->begin, before);
	if (entry->end < entry->begin)
		return wload_fail(p->err, EBADMSG,
				  "tensor " SHOWN ": ends at %" PRIu64
				  ", before it begins at %" PRIu64,
				  entry_name(p, entry), entry->end, entry->begin);
	return check_size(p, entry);
}

static int check_entries(struct parser *p, uint64_t data_bytes)
{
	uint64_t end = 0;
	size_t i;
	int r;

	for (i = 0; i < p->header->count; i++) {
		r = check_entry(p, &p->header->entries[i], end);
		if (r < 0)
			return r;
		end = p->header->entries[i].end;
	}
	if (end != data_bytes)
		return wload_fail(p->err, EBADMSG,
				  "the tensors end at %" PRIu64 ", but %" PRIu64
				  " bytes follow the header",
				  end, data_bytes);
	return 0;
}

int safetensors_parse_header(const uint8_t *json, size_t len, uint64_t data_bytes,
			     struct safetensors_header *header, struct wload_error *err)
{
	struct parser p = {.header = header, .err = err};
	int r;

	assert(len <= SAFETENSORS_HEADER_MAX);
	header->count = header->names_len = header->dims_len = 0;
	json_start(&p.json, json, len);
	r = parse_members(&p);
	json_finish(&p.json);
	if (r == 0)
		r = drop_superseded(&p);
	if (r < 0)
		return r;
	sort_entries(header);
	return check_entries(&p, data_bytes);
}

struct wload_tensor safetensors_tensor(const struct safetensors_header *header, size_t index)
{
	const struct safetensors_entry *entry;

	assert(index < header->count);
	entry = &header->entries[index];
	return (struct wload_tensor){
		.name = header->names + entry->name,
		.shape = entry->rank ? header->dims + entry->dims : NULL,
		.rank = entry->rank,
		.dtype = (enum wload_dtype)entry->dtype,
		.offset = entry->begin,
		.bytes = entry->end - entry->begin,
	};
}

void safetensors_clear(struct safetensors_header *header)
{
	free(header->entries);
	free(header->names);
	free(header->dims);
	*header = (struct safetensors_header){0};
}
