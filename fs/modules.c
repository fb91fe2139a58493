/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of modules/, built in one pass over the names in order (see modules.h for the picture).
 */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/modules.h"
#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/names.h"

static const char *name_at(const struct wload_inventory *inv, uint32_t rank)
{
	return wload_inventory_tensor(inv, wload_inventory_by_name(inv, rank)).name;
}

static const char *name_of(const struct modules *m, uint32_t rank)
{
	return name_at(m->inv, rank);
}

/* Whether a tensor has exactly the first len bytes of name as its name. */
static bool is_tensor(const struct wload_inventory *inv, const char *name, size_t len)
{
	CLEANUP_FREE char *copy = strndup(name, len);
	uint32_t index;

	return copy && wload_inventory_find(inv, copy, &index) == 0;
}

/* Adds the folder of name[0, prefix_len), whose first tensor has the name rank `first`. */
static int add_module(struct modules *m, size_t *cap, const char *name, size_t prefix_len,
		      uint32_t parent, uint32_t first)
{
	size_t count = m->count;

	if (count >= MODULE_NONE || prefix_len > INT32_MAX)
		return -E2BIG;
	if (!grow_array(&m->module, cap, count + 1, sizeof(*m->module)))
		return -ENOMEM;
	m->module[m->count++] = (struct module){
		.first = first,
		.end = first,
		.parent = parent,
		.prefix_len = (uint32_t)prefix_len,
		.clash = prefix_len > 0 && is_tensor(m->inv, name, prefix_len - 1),
	};
	return 0;
}

/* Closes the open folders that name is not below; returns the deepest that it is below. */
static uint32_t close_folders(struct modules *m, uint32_t open, const char *prev, const char *name,
			      uint32_t rank)
{
	while (open != 0 && (!prev || strncmp(prev, name, m->module[open].prefix_len) != 0)) {
		m->module[open].end = rank;
		open = m->module[open].parent;
	}
	return open;
}

int modules_build(const struct wload_inventory *inv, struct modules *ret)
{
	struct modules m CLEANUP(modules_free) = {.inv = inv};
	uint32_t count = wload_inventory_count(inv), open = 0;
	const char *prev = NULL;
	size_t cap = 0;
	int r = add_module(&m, &cap, "", 0, MODULE_NONE, 0);

	for (uint32_t rank = 0; r == 0 && rank < count; rank++) {
		const char *name = name_of(&m, rank);
		const char *dot;

		open = close_folders(&m, open, prev, name, rank);
		while (r == 0 && (dot = strchr(name + m.module[open].prefix_len, '.'))) {
			r = add_module(&m, &cap, name, (size_t)(dot - name) + 1, open, rank);
			open = m.count - 1;
		}
		prev = name;
	}
	if (r < 0)
		return r;
	for (; open != MODULE_NONE; open = m.module[open].parent)
		m.module[open].end = count;
	*ret = m;
	m.module = NULL;
	return 0;
}

void modules_free(struct modules *modules)
{
	free(modules->module);
	modules->module = NULL;
	modules->count = 0;
}

/* The folder with this first rank and prefix length; there is one (the caller saw its dot). */
static uint32_t module_at(const struct modules *m, uint32_t first, uint32_t prefix_len)
{
	uint32_t lo = 0, hi = m->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct module *at = &m->module[mid];

		if (at->first < first || (at->first == first && at->prefix_len < prefix_len))
			lo = mid + 1;
		else
			hi = mid;
	}
	assert(lo < m->count);
	return lo;
}

bool modules_entry(const struct modules *modules, uint32_t index, uint32_t rank,
		   struct module_entry *ret)
{
	const struct module *folder = &modules->module[index];
	const char *part, *dot;

	if (rank < folder->first)
		rank = folder->first;
	if (rank >= folder->end)
		return false;
	part = name_of(modules, rank) + folder->prefix_len;
	dot = strchr(part, '.');
	ret->tensor = wload_inventory_by_name(modules->inv, rank);
	ret->module = MODULE_NONE;
	ret->next = rank + 1;
	if (dot) {
		uint32_t prefix_len = folder->prefix_len + (uint32_t)(dot - part) + 1;

		ret->module = module_at(modules, rank, prefix_len);
		ret->next = modules->module[ret->module].end;
		name_to_file(part, (size_t)(dot - part),
			     modules->module[ret->module].clash ? "." : "", ret->file);
	} else {
		name_to_file(part, strlen(part), "", ret->file);
	}
	return true;
}

/* Finds the entry by walking the folder: for the names that are not spelled in full. */
static int find_by_walk(const struct modules *modules, uint32_t index, const char *file,
			struct module_entry *ret)
{
	uint32_t rank = modules->module[index].first;

	for (; modules_entry(modules, index, rank, ret); rank = ret->next)
		if (strcmp(ret->file, file) == 0)
			return 0;
	return -ENOENT;
}

/* The first name rank in the folder that has this full prefix, or the folder's end. */
static uint32_t first_with(const struct modules *modules, const char *prefix, size_t len)
{
	uint32_t first, end;

	wload_inventory_prefix(modules->inv, prefix, len, &first, &end);
	return first < end ? first : MODULE_NONE;
}

int modules_find(const struct modules *modules, uint32_t index, const char *file,
		 struct module_entry *ret)
{
	const struct module *folder = &modules->module[index];
	size_t file_len = strlen(file), part_len, full_len;
	uint32_t tensor, rank;
	char part[256];

	if (folder->first >= folder->end)
		return -ENOENT;
	if (name_is_shortened(file, file_len))
		return find_by_walk(modules, index, file, ret);
	/* A folder whose name a tensor has is spelled with a dot behind; nothing else holds one. */
	if (file_len > 1 && file[file_len - 1] == '.')
		file_len--;
	if (name_from_file(file, file_len, part, sizeof(part), &part_len) < 0 ||
	    memchr(part, '.', part_len))
		return -ENOENT;

	full_len = folder->prefix_len + part_len;
	CLEANUP_FREE char *full = malloc(full_len + 2);
	if (!full)
		return -ENOMEM;
	memcpy(full, name_of(modules, folder->first), folder->prefix_len);
	memcpy(full + folder->prefix_len, part, part_len);
	full[full_len] = '\0';

	if (wload_inventory_find(modules->inv, full, &tensor) == 0) {
		ret->tensor = tensor;
		ret->module = MODULE_NONE;
		ret->next = 0;
		name_to_file(part, part_len, "", ret->file);
		if (strcmp(ret->file, file) == 0)
			return 0;
	}
	memcpy(full + full_len, ".", 2);
	rank = first_with(modules, full, full_len + 1);
	if (rank == MODULE_NONE || !modules_entry(modules, index, rank, ret))
		return -ENOENT;
	return strcmp(ret->file, file) == 0 ? 0 : -ENOENT;
}
