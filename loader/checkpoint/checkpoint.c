/* SPDX-License-Identifier: Apache-2.0 */
/* Opens a checkpoint.
 *
 *     folder ──> index? ──yes──> its shards ──┐
 *                  └─no──> *.safetensors ─────┴─> open, read headers ──> inventory (all tensors)
 *                                                                            │
 *          index? ──yes──> compare: what is placed elsewhere leaves ─────────┤
 *                                                                            └──> seal
 *
 * Everything that is only needed on the way (the index, header bytes, parsed headers) is freed as
 * soon as it was used, and the heap is trimmed once in the end: what stays is the inventory. */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/folder.h"
#include "loader/checkpoint/index.h"
#include "loader/checkpoint/inventory.h"
#include "loader/checkpoint/placement.h"
#include "loader/checkpoint/shards.h"
#include "wloadfs/checkpoint.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

static const char main_index[] = "model.safetensors.index.json";

struct wload_checkpoint {
	struct folder folder;
	struct wload_shard *shards;
	uint32_t shard_count;
	struct wload_inventory *inventory;
	char *config;	 /* or NULL */
	char **warnings; /* NULL-terminated, or NULL */
	size_t warning_count, warnings_cap;
};

/* What is needed while opening. */
struct opening {
	struct wload_checkpoint *ckpt;
	wload_shard_opener opener;
	void *ctx;
	struct wload_error *err;
	struct folder_listing listing;
	struct shard_index index;
	const char *index_name; /* NULL: there is none */
};

/* Adds a warning: one line, as an error's text is. */
__attribute__((format(printf, 2, 3))) static int warn(struct opening *o, const char *fmt, ...)
{
	struct wload_checkpoint *ckpt = o->ckpt;
	char text[WLOAD_ERROR_TEXT];
	struct wload_error line;
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!grow_array(&ckpt->warnings, &ckpt->warnings_cap, ckpt->warning_count + 2,
			sizeof(*ckpt->warnings)))
		return wload_fail(o->err, ENOMEM, "out of memory for a warning");
	(void)wload_fail(&line, 0, "%s", text); /* makes control bytes visible */
	ckpt->warnings[ckpt->warning_count] = strdup(line.text);
	if (!ckpt->warnings[ckpt->warning_count])
		return wload_fail(o->err, ENOMEM, "out of memory for a warning");
	ckpt->warning_count++;
	ckpt->warnings[ckpt->warning_count] = NULL;
	return 0;
}

/* ---- which shards --------------------------------------------------------------------------- */

static int choose_index(struct opening *o)
{
	char *const *names = o->listing.indexes;
	size_t i;

	for (i = 0; i < o->listing.index_count; i++)
		if (strcmp(names[i], main_index) == 0)
			o->index_name = names[i];
	if (o->index_name || o->listing.index_count == 0)
		return 0;
	if (o->listing.index_count > 1)
		return wload_fail(o->err, EOPNOTSUPP,
				  "'%s' holds several indexes ('%s', '%s'), none is '%s'",
				  o->ckpt->folder.path, names[0], names[1], main_index);
	o->index_name = names[0];
	return 0;
}

static int read_index(struct opening *o)
{
	struct wload_error why = {0};
	char *text CLEANUP_FREE = NULL;
	size_t len;
	int r = folder_read_file(&o->ckpt->folder, o->index_name, INDEX_BYTES_MAX, &text, &len,
				 o->err);

	if (r < 0)
		return r;
	r = index_parse((const uint8_t *)text, len, &o->index, &why);
	return r < 0 ? wload_fail(o->err, -r, "index '%s': %s", o->index_name, why.text) : 0;
}

/* Finds the shards' names: borrowed from the opening. */
static int list_shards(struct opening *o, const char *const **ret_names, size_t *ret_count)
{
	const struct folder *folder = &o->ckpt->folder;
	int r;

	if (folder->file) {
		*ret_names = (const char *const *)&folder->file;
		*ret_count = 1;
		return 0;
	}
	r = folder_list(folder, &o->listing, o->err);
	if (r == 0)
		r = choose_index(o);
	if (r == 0 && o->index_name)
		r = read_index(o);
	if (r < 0)
		return r;
	*ret_names = o->index_name ? o->index.shards : (const char *const *)o->listing.shards;
	*ret_count = o->index_name ? o->index.shard_count : o->listing.shard_count;
	if (*ret_count == 0)
		return wload_fail(o->err, ENOENT, "no shards: %s '%s' names no .safetensors file",
				  o->index_name ? "the index in" : "the folder", folder->path);
	if (*ret_count > INDEX_SHARDS_MAX)
		return wload_fail(o->err, E2BIG, "%zu shards are over the limit of %u", *ret_count,
				  INDEX_SHARDS_MAX);
	return 0;
}

/* ---- their tensors -------------------------------------------------------------------------- */

static int add_tensors(struct opening *o, uint32_t shard, const struct safetensors_header *header)
{
	struct wload_tensor tensor;
	size_t i;
	int r;

	for (i = 0; i < header->count; i++) {
		tensor = safetensors_tensor(header, i);
		tensor.shard = shard;
		tensor.offset += o->ckpt->shards[shard].data_offset;
		r = inventory_add(o->ckpt->inventory, &tensor, o->err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_shards(struct opening *o, const char *const *names, size_t count)
{
	struct shard_reader reader CLEANUP(shard_reader_clear) = {0};
	struct wload_checkpoint *ckpt = o->ckpt;
	uint32_t i;
	int r;

	ckpt->shards = calloc(count, sizeof(*ckpt->shards));
	ckpt->inventory = inventory_new();
	if (!ckpt->shards || !ckpt->inventory)
		return wload_fail(o->err, ENOMEM, "out of memory for %zu shards", count);
	shards_raise_limit(count);
	for (i = 0; i < count; i++) {
		r = shard_open(&ckpt->folder, names[i], o->opener, o->ctx, &ckpt->shards[i],
			       o->err);
		if (r < 0)
			return r;
		ckpt->shard_count = i + 1;
		r = shard_read_header(&ckpt->shards[i], &reader, o->err);
		if (r == 0)
			r = add_tensors(o, i, &reader.header);
		if (r < 0)
			return r;
	}
	return 0;
}

static int warn_of_shard(struct opening *o, const char *shard, const struct placement_tally *tally)
{
	int r = 0;

	if (tally->elsewhere > 0)
		r = warn(o,
			 "shard '%s' holds tensors that the index places elsewhere (%" PRIu32
			 ", first '%.300s'), leaving these copies out",
			 shard, tally->elsewhere, tally->elsewhere_name);
	if (r == 0 && tally->unlisted > 0)
		r = warn(o,
			 "shard '%s' holds tensors that the index does not list (%" PRIu32
			 ", first '%.300s'), keeping them",
			 shard, tally->unlisted, tally->unlisted_name);
	return r;
}

static int apply_index(struct opening *o)
{
	struct wload_checkpoint *ckpt = o->ckpt;
	uint8_t *drop CLEANUP_FREE = NULL;
	struct placement_tally *tally CLEANUP_FREE = calloc(ckpt->shard_count, sizeof(*tally));
	uint32_t i;
	int r = inventory_sort(ckpt->inventory, o->err);

	if (r < 0)
		return r;
	drop = calloc(wload_inventory_count(ckpt->inventory) + 1, 1);
	if (!drop || !tally)
		return wload_fail(o->err, ENOMEM, "out of memory to apply the index");
	r = placement_compare(ckpt->inventory, &o->index, drop, tally, o->err);
	for (i = 0; r == 0 && i < ckpt->shard_count; i++)
		r = warn_of_shard(o, ckpt->shards[i].name, &tally[i]);
	return r < 0 ? r : inventory_drop(ckpt->inventory, drop, o->err);
}

static int seal_inventory(struct opening *o)
{
	struct wload_checkpoint *ckpt = o->ckpt;
	struct wload_tensor a, b;
	uint32_t pair[2], i, next = 0;
	int r = inventory_seal(ckpt->inventory, pair, o->err);

	if (r == -EEXIST) {
		a = wload_inventory_tensor(ckpt->inventory, pair[0]);
		b = wload_inventory_tensor(ckpt->inventory, pair[1]);
		return wload_fail(o->err, EBADMSG,
				  "tensor '%.300s' is in shard '%.200s' and in shard '%.200s'",
				  a.name, ckpt->shards[a.shard].name, ckpt->shards[b.shard].name);
	}
	if (r < 0)
		return r;
	for (i = 0; i < ckpt->shard_count; i++) {
		ckpt->shards[i].first = next;
		while (next < wload_inventory_count(ckpt->inventory) &&
		       wload_inventory_tensor(ckpt->inventory, next).shard == i)
			next++;
		ckpt->shards[i].end = next;
	}
	return 0;
}

/* A checkpoint without a (readable) config.json is still one. */
static int read_config(struct opening *o)
{
	struct wload_error why = {0};
	char *text CLEANUP_FREE = NULL;
	size_t len;
	int r = folder_read_file(&o->ckpt->folder, WLOAD_CONFIG_FILE, CONFIG_BYTES_MAX, &text, &len,
				 &why);

	if (r == -ENOENT)
		return 0;
	if (r == -ENOMEM)
		return wload_fail(o->err, ENOMEM, "%s", why.text);
	if (r < 0)
		return warn(o, "%s, going on without it", why.text);
	if (strlen(text) != len)
		return warn(o, "'config.json' holds a NUL, going on without it");
	o->ckpt->config = TAKE_PTR(text);
	return 0;
}

static int open_all(struct opening *o)
{
	const char *const *names;
	size_t count;
	int r = list_shards(o, &names, &count);

	if (r == 0)
		r = open_shards(o, names, count);
	if (r == 0 && o->index_name)
		r = apply_index(o);
	if (r == 0)
		r = seal_inventory(o);
	return r < 0 ? r : read_config(o);
}

/* ---- public --------------------------------------------------------------------------------- */

static void close_checkpoint(struct wload_checkpoint **ckpt)
{
	wload_checkpoint_close(*ckpt);
}

int wload_checkpoint_open(const char *path, wload_shard_opener opener, void *ctx,
			  struct wload_checkpoint **ret_ckpt, struct wload_error *err)
{
	struct wload_checkpoint *ckpt CLEANUP(close_checkpoint) = calloc(1, sizeof(*ckpt));
	struct opening o = {.ckpt = ckpt, .opener = opener, .ctx = ctx, .err = err};
	int r;

	if (!ckpt)
		return wload_fail(err, ENOMEM, "out of memory");
	ckpt->folder.fd = -1;
	r = folder_open(path, &ckpt->folder, err);
	if (r == 0)
		r = open_all(&o);
	folder_listing_clear(&o.listing);
	index_clear(&o.index);
	malloc_trim(0);
	if (r < 0)
		return r;
	*ret_ckpt = TAKE_PTR(ckpt);
	return 0;
}

void wload_checkpoint_close(struct wload_checkpoint *ckpt)
{
	size_t i;

	if (!ckpt)
		return;
	for (i = 0; i < ckpt->shard_count; i++)
		shard_close(&ckpt->shards[i]);
	for (i = 0; i < ckpt->warning_count; i++)
		free(ckpt->warnings[i]);
	free(ckpt->shards);
	free(ckpt->warnings);
	free(ckpt->config);
	inventory_free(ckpt->inventory);
	folder_close(&ckpt->folder);
	free(ckpt);
}

const struct wload_inventory *wload_checkpoint_inventory(const struct wload_checkpoint *ckpt)
{
	return ckpt->inventory;
}

uint32_t wload_checkpoint_shard_count(const struct wload_checkpoint *ckpt)
{
	return ckpt->shard_count;
}

const struct wload_shard *wload_checkpoint_shard(const struct wload_checkpoint *ckpt,
						 uint32_t shard)
{
	assert(shard < ckpt->shard_count);
	return &ckpt->shards[shard];
}

const char *wload_checkpoint_folder(const struct wload_checkpoint *ckpt)
{
	return ckpt->folder.path;
}

const char *wload_checkpoint_file(const struct wload_checkpoint *ckpt)
{
	return ckpt->folder.file;
}

int wload_checkpoint_folder_fd(const struct wload_checkpoint *ckpt)
{
	return ckpt->folder.fd;
}

const char *wload_checkpoint_config(const struct wload_checkpoint *ckpt)
{
	return ckpt->config;
}

const char *wload_checkpoint_warning(const struct wload_checkpoint *ckpt, uint32_t i)
{
	return i < ckpt->warning_count ? ckpt->warnings[i] : NULL;
}

int wload_checkpoint_check(const struct wload_checkpoint *ckpt, uint32_t shard,
			   struct wload_error *err)
{
	const struct wload_shard *opened = wload_checkpoint_shard(ckpt, shard);
	struct stat st;

	if (fstat(opened->fd, &st) < 0)
		return wload_fail(err, errno, "cannot stat shard '%s': %s", opened->path,
				  strerror(errno));
	if ((uint64_t)st.st_size == opened->bytes &&
	    st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec == opened->mtime_ns)
		return 0;
	return wload_fail(err, ESTALE, "shard '%s' changed since it was opened", opened->path);
}
