/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory in memory: 36 bytes a tensor, plus its name, plus its shape when that is a new one.
 *
 *     records[]  by index, in disk order: offset, bytes, and where name and dimensions lie
 *     by_name[]  indexes, in the order of names
 *     names      one block of C strings
 *     dims       one block of dimensions; equal shapes share theirs
 *
 * Half of a large quantised checkpoint's 180,364 tensors are scalars and nearly all of the rest
 * have one of a dozen shapes, so a small direct-mapped cache of the shapes seen last finds them
 * again. It only saves memory: a miss stores the shape once more. */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/inventory.h"
#include "loader/checkpoint/name_order.h"

enum { SHAPE_CACHE_SLOTS = 256 };

struct record {
	uint64_t offset, bytes;
	uint32_t name; /* offset into names */
	uint32_t dims; /* index into dims */
	uint32_t rank;
	uint32_t shard : 24;
	uint32_t dtype : 8;
};

static_assert(sizeof(struct record) == 32, "a record grew");

struct shape_place {
	uint32_t dims, rank;
};

struct wload_inventory {
	struct record *records;
	uint32_t *by_name; /* NULL until sorted */
	char *names;
	uint64_t *dims;
	size_t count, cap;
	size_t names_len, names_cap;
	size_t dims_len, dims_cap;
	uint64_t bytes;
	struct shape_place *shape_cache; /* NULL once sealed */
};

struct wload_inventory *inventory_new(void)
{
	struct wload_inventory *inv = calloc(1, sizeof(*inv));

	if (!inv)
		return NULL;
	inv->shape_cache = calloc(SHAPE_CACHE_SLOTS, sizeof(*inv->shape_cache));
	if (!inv->shape_cache) {
		inventory_free(inv);
		return NULL;
	}
	return inv;
}

void inventory_free(struct wload_inventory *inv)
{
	if (!inv)
		return;
	free(inv->records);
	free(inv->by_name);
	free(inv->names);
	free(inv->dims);
	free(inv->shape_cache);
	free(inv);
}

/* ---- adding --------------------------------------------------------------------------------- */

static size_t shape_slot(const uint64_t *shape, uint32_t rank)
{
	uint64_t hash = rank;
	uint32_t i;

	for (i = 0; i < rank; i++)
		hash = (hash ^ shape[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return hash >> 56;
}

static_assert(SHAPE_CACHE_SLOTS == 1 << 8, "shape_slot() takes the top 8 bits");

static int add_shape(struct wload_inventory *inv, const uint64_t *shape, uint32_t rank,
		     uint32_t *ret_dims, struct wload_error *err)
{
	struct shape_place *seen = &inv->shape_cache[shape_slot(shape, rank)];
	size_t bytes = rank * sizeof(*shape);

	if (rank == 0) {
		*ret_dims = 0;
		return 0;
	}
	if (seen->rank == rank && memcmp(inv->dims + seen->dims, shape, bytes) == 0) {
		*ret_dims = seen->dims;
		return 0;
	}
	if (inv->dims_len + rank > UINT32_MAX)
		return wload_fail(err, E2BIG, "the tensors have over 2^32 dimensions");
	if (!grow_array(&inv->dims, &inv->dims_cap, inv->dims_len + rank, sizeof(*shape)))
		return wload_fail(err, ENOMEM, "out of memory for the tensors' shapes");
	memcpy(inv->dims + inv->dims_len, shape, bytes);
	*seen = (struct shape_place){(uint32_t)inv->dims_len, rank};
	*ret_dims = (uint32_t)inv->dims_len;
	inv->dims_len += rank;
	return 0;
}

static int add_name(struct wload_inventory *inv, const char *name, uint32_t *ret_name,
		    struct wload_error *err)
{
	size_t size = strlen(name) + 1;

	if (size > UINT32_MAX - inv->names_len)
		return wload_fail(err, E2BIG, "the tensors' names take over 4 GiB");
	if (!grow_array(&inv->names, &inv->names_cap, inv->names_len + size, 1))
		return wload_fail(err, ENOMEM, "out of memory for the tensors' names");
	memcpy(inv->names + inv->names_len, name, size);
	*ret_name = (uint32_t)inv->names_len;
	inv->names_len += size;
	return 0;
}

int inventory_add(struct wload_inventory *inv, const struct wload_tensor *tensor,
		  struct wload_error *err)
{
	struct record record = {
		.offset = tensor->offset,
		.bytes = tensor->bytes,
		.rank = tensor->rank,
		.shard = tensor->shard & (INVENTORY_SHARDS_MAX - 1),
		.dtype = (uint8_t)tensor->dtype,
	};
	int r;

	assert(!inv->by_name && tensor->shard < INVENTORY_SHARDS_MAX);
	if (inv->count >= INVENTORY_TENSORS_MAX)
		return wload_fail(err, E2BIG, "over %u tensors", INVENTORY_TENSORS_MAX);
	if (!checked_add(inv->bytes, tensor->bytes, &inv->bytes))
		return wload_fail(err, E2BIG, "the tensors take over 2^64 bytes");
	if (!grow_array(&inv->records, &inv->cap, inv->count + 1, sizeof(record)))
		return wload_fail(err, ENOMEM, "out of memory for %zu tensors", inv->count);
	r = add_shape(inv, tensor->shape, tensor->rank, &record.dims, err);
	if (r == 0)
		r = add_name(inv, tensor->name, &record.name, err);
	if (r == 0)
		inv->records[inv->count++] = record;
	return r;
}

/* ---- ordering ------------------------------------------------------------------------------- */

static int compare_disk_order(const void *a, const void *b, void *names)
{
	const struct record *x = a, *y = b;
	const char *text = names;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? -1 : 1;
	return strcmp(text + x->name, text + y->name);
}

static void sort_by_disk_order(struct wload_inventory *inv)
{
	size_t i;

	for (i = 1; i < inv->count; i++) {
		if (compare_disk_order(&inv->records[i - 1], &inv->records[i], inv->names) <= 0)
			continue;
		qsort_r(inv->records, inv->count, sizeof(*inv->records), compare_disk_order,
			inv->names);
		return;
	}
}

int inventory_sort(struct wload_inventory *inv, struct wload_error *err)
{
	struct name_ref *refs CLEANUP_FREE = calloc(inv->count + 1, sizeof(*refs));
	uint32_t *by_name CLEANUP_FREE = calloc(inv->count + 1, sizeof(*by_name));
	size_t i;

	if (!refs || !by_name)
		return wload_fail(err, ENOMEM, "out of memory to sort %zu tensors", inv->count);
	sort_by_disk_order(inv);
	for (i = 0; i < inv->count; i++)
		refs[i] = (struct name_ref){inv->names + inv->records[i].name, (uint32_t)i, 0};
	name_order_sort(refs, inv->count);
	for (i = 0; i < inv->count; i++)
		by_name[i] = refs[i].id;
	free(inv->by_name);
	inv->by_name = TAKE_PTR(by_name);
	return 0;
}

/* The names of what is dropped stay in the block: a few bytes, in a case that is rare. */
int inventory_drop(struct wload_inventory *inv, const uint8_t *drop, struct wload_error *err)
{
	uint32_t *moved CLEANUP_FREE = calloc(inv->count + 1, sizeof(*moved));
	size_t i, kept = 0, ranks = 0;
	uint32_t index;

	if (!moved)
		return wload_fail(err, ENOMEM, "out of memory to sort %zu tensors", inv->count);
	for (i = 0; i < inv->count; i++) {
		moved[i] = (uint32_t)kept;
		if (drop[i])
			inv->bytes -= inv->records[i].bytes;
		else
			inv->records[kept++] = inv->records[i];
	}
	for (i = 0; i < inv->count; i++) {
		index = inv->by_name[i];
		if (!drop[index])
			inv->by_name[ranks++] = moved[index];
	}
	inv->count = kept;
	return 0;
}

/* ---- sealing -------------------------------------------------------------------------------- */

static bool find_twin(const struct wload_inventory *inv, uint32_t ret_pair[2])
{
	const char *name, *last = NULL;
	uint32_t rank;

	for (rank = 0; rank < inv->count; rank++, last = name) {
		name = inv->names + inv->records[inv->by_name[rank]].name;
		if (!last || strcmp(last, name) != 0)
			continue;
		ret_pair[0] = inv->by_name[rank - 1];
		ret_pair[1] = inv->by_name[rank];
		return true;
	}
	return false;
}

/* Shrinks a block to what is used; keeps it as it is when realloc() will not. */
static void *shrunk(void *block, size_t bytes)
{
	void *p = bytes ? realloc(block, bytes) : NULL;

	return p ? p : block;
}

int inventory_seal(struct wload_inventory *inv, uint32_t ret_pair[2], struct wload_error *err)
{
	int r = inv->by_name ? 0 : inventory_sort(inv, err);

	if (r < 0)
		return r;
	if (find_twin(inv, ret_pair))
		return -EEXIST;
	inv->records = shrunk(inv->records, inv->count * sizeof(*inv->records));
	inv->by_name = shrunk(inv->by_name, inv->count * sizeof(*inv->by_name));
	inv->names = shrunk(inv->names, inv->names_len);
	inv->dims = shrunk(inv->dims, inv->dims_len * sizeof(*inv->dims));
	free(inv->shape_cache);
	inv->shape_cache = NULL;
	return 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

uint32_t wload_inventory_count(const struct wload_inventory *inv)
{
	return (uint32_t)inv->count;
}

uint64_t wload_inventory_bytes(const struct wload_inventory *inv)
{
	return inv->bytes;
}

struct wload_tensor wload_inventory_tensor(const struct wload_inventory *inv, uint32_t index)
{
	const struct record *record;

	assert(index < inv->count);
	record = &inv->records[index];
	return (struct wload_tensor){
		.name = inv->names + record->name,
		.shape = record->rank ? inv->dims + record->dims : NULL,
		.rank = record->rank,
		.dtype = (enum wload_dtype)record->dtype,
		.shard = record->shard,
		.offset = record->offset,
		.bytes = record->bytes,
	};
}

uint32_t wload_inventory_by_name(const struct wload_inventory *inv, uint32_t name_rank)
{
	assert(name_rank < inv->count);
	return inv->by_name[name_rank];
}

/* The first name rank whose name, cut at len bytes, is not below prefix; or, with past, is above.
 */
static uint32_t bound(const struct wload_inventory *inv, const char *prefix, size_t len, bool past)
{
	uint32_t low = 0, high = (uint32_t)inv->count, middle;
	int r;

	while (low < high) {
		middle = low + (high - low) / 2;
		r = strncmp(inv->names + inv->records[inv->by_name[middle]].name, prefix, len);
		if (r < 0 || (past && r == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int wload_inventory_find(const struct wload_inventory *inv, const char *name, uint32_t *ret_index)
{
	uint32_t rank = bound(inv, name, strlen(name) + 1, false);

	if (rank == inv->count ||
	    strcmp(inv->names + inv->records[inv->by_name[rank]].name, name) != 0)
		return -ENOENT;
	*ret_index = inv->by_name[rank];
	return 0;
}

void wload_inventory_prefix(const struct wload_inventory *inv, const char *prefix,
			    size_t prefix_len, uint32_t *ret_first, uint32_t *ret_end)
{
	*ret_first = bound(inv, prefix, prefix_len, false);
	*ret_end = bound(inv, prefix, prefix_len, true);
}
