/* SPDX-License-Identifier: Apache-2.0 */
/* File names of tensors/ and npy/ -> tensors (see names.h). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/names.h"
#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/names.h"

static int by_file(const void *a, const void *b)
{
	return strcmp(((const struct names_long *)a)->file, ((const struct names_long *)b)->file);
}

static int add_if_shortened(struct names *names, size_t *cap, uint32_t tensor, const char *name,
			    const char *suffix)
{
	char file[256];
	int len = name_to_file(name, strlen(name), suffix, file);
	struct names_long *added;

	if (!name_is_shortened(file, (size_t)len - strlen(suffix)))
		return 0;
	if (!grow_array(&names->shortened, cap, names->shortened_count + 1, sizeof(*added)))
		return -ENOMEM;
	added = &names->shortened[names->shortened_count];
	added->tensor = tensor;
	added->file = strdup(file);
	if (!added->file)
		return -ENOMEM;
	names->shortened_count++;
	return 0;
}

int names_build(const struct wload_inventory *inv, struct names *ret, struct wload_error *err)
{
	struct names names CLEANUP(names_free) = {.inv = inv};
	size_t cap = 0;

	for (uint32_t i = 0; i < wload_inventory_count(inv); i++) {
		const char *name = wload_inventory_tensor(inv, i).name;

		/* Spelling makes a byte three at most: short names cannot be shortened. */
		if (strlen(name) * 3 + strlen(NPY_SUFFIX) <= 255)
			continue;
		if (add_if_shortened(&names, &cap, i, name, "") < 0 ||
		    add_if_shortened(&names, &cap, i, name, NPY_SUFFIX) < 0)
			return wload_fail(err, ENOMEM, "out of memory for long names");
	}
	if (names.shortened_count)
		qsort(names.shortened, names.shortened_count, sizeof(*names.shortened), by_file);
	for (uint32_t i = 1; i < names.shortened_count; i++)
		if (by_file(&names.shortened[i - 1], &names.shortened[i]) == 0)
			return wload_fail(err, EOPNOTSUPP,
					  "two tensor names over 255 bytes shorten to '%s'",
					  names.shortened[i].file);
	*ret = names;
	names = (struct names){0};
	return 0;
}

void names_free(struct names *names)
{
	for (uint32_t i = 0; i < names->shortened_count; i++)
		free(names->shortened[i].file);
	free(names->shortened);
	*names = (struct names){0};
}

int names_find(const struct names *names, const char *file, size_t len, const char *suffix,
	       uint32_t *ret_tensor)
{
	size_t suffix_len = strlen(suffix), name_len;
	char name[256];

	if (len < suffix_len || len > 255 ||
	    memcmp(file + len - suffix_len, suffix, suffix_len) != 0)
		return -ENOENT;
	if (name_is_shortened(file, len - suffix_len)) {
		char text[256];
		struct names_long key = {.file = memcpy(text, file, len)}, *found;

		text[len] = '\0';
		found = names->shortened_count
				? bsearch(&key, names->shortened, names->shortened_count,
					  sizeof(key), by_file)
				: NULL;
		if (!found)
			return -ENOENT;
		*ret_tensor = found->tensor;
		return 0;
	}
	if (name_from_file(file, len - suffix_len, name, sizeof(name), &name_len) < 0)
		return -ENOENT;
	return wload_inventory_find(names->inv, name, ret_tensor);
}
