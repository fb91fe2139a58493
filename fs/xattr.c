/* SPDX-License-Identifier: Apache-2.0 */
/* Values of user.wload.*: one small function an attribute, found in a table. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fs/xattr.h"
#include "loader/base/text.h"
#include "wloadfs/mount.h"

/* The one namespace that is ours to fill (xattr(7)). */
#define USER_PREFIX "user."

void xattr_add_name(const char *name, struct text *text)
{
	const char *nul, *at = name;

	for (; (nul = strstr(at, "\xc0\x80")); at = nul + 2) {
		text_add(text, at, (size_t)(nul - at));
		text_add(text, "", 1);
	}
	text_add(text, at, strlen(at));
}

void xattr_add_shape(const uint64_t *shape, uint32_t rank, struct text *text)
{
	text_add(text, "[", 1);
	for (uint32_t i = 0; i < rank; i++)
		text_printf(text, "%s%" PRIu64, i ? ", " : "", shape[i]);
	text_add(text, "]", 1);
}

static void add_name(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		     struct text *text)
{
	(void)fs;
	(void)index;
	xattr_add_name(t->name, text);
}

static void add_dtype(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		      struct text *text)
{
	(void)fs;
	(void)index;
	text_printf(text, "%s", wload_dtype_describe(t->dtype)->name);
}

static void add_shape(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		      struct text *text)
{
	(void)fs;
	(void)index;
	xattr_add_shape(t->shape, t->rank, text);
}

static void add_shard(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		      struct text *text)
{
	const char *name = wload_checkpoint_shard(fs->ckpt, t->shard)->name;

	(void)index;
	text_add(text, name, strlen(name));
}

static void add_offset(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		       struct text *text)
{
	(void)fs;
	(void)index;
	text_printf(text, "%" PRIu64, t->offset);
}

static void add_bytes(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		      struct text *text)
{
	(void)fs;
	(void)index;
	text_printf(text, "%" PRIu64, t->bytes);
}

static void add_state(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		      struct text *text)
{
	(void)t;
	text_printf(text, "%s", fs_is_consumed(fs, index) ? "consumed" : "live");
}

/* How many still need the tensor: ranks, or the mount's one consumer, until it is consumed. */
static void add_claims(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *t,
		       struct text *text)
{
	(void)t;
	text_printf(text, "%" PRIu32, claims_left(&fs->claims, index));
}

static const struct {
	const char *name;
	void (*add)(const struct wloadfs *fs, uint32_t index, const struct wload_tensor *tensor,
		    struct text *text);
} attributes[] = {
	{WLOAD_XATTR_PREFIX "name", add_name},	   {WLOAD_XATTR_PREFIX "dtype", add_dtype},
	{WLOAD_XATTR_PREFIX "shape", add_shape},   {WLOAD_XATTR_PREFIX "shard", add_shard},
	{WLOAD_XATTR_PREFIX "offset", add_offset}, {WLOAD_XATTR_PREFIX "bytes", add_bytes},
	{WLOAD_XATTR_PREFIX "state", add_state},   {WLOAD_XATTR_PREFIX "claims", add_claims},
};

size_t xattr_list(const char **ret_names)
{
	/* clang-format off */
	static const char names[] =
		WLOAD_XATTR_PREFIX "name\0" WLOAD_XATTR_PREFIX "dtype\0"
		WLOAD_XATTR_PREFIX "shape\0" WLOAD_XATTR_PREFIX "shard\0"
		WLOAD_XATTR_PREFIX "offset\0" WLOAD_XATTR_PREFIX "bytes\0"
		WLOAD_XATTR_PREFIX "state\0" WLOAD_XATTR_PREFIX "claims";
	/* clang-format on */

	*ret_names = names;
	return sizeof(names);
}

int xattr_none(const char *name)
{
	return strncmp(name, USER_PREFIX, strlen(USER_PREFIX)) == 0 ? -ENODATA : -EOPNOTSUPP;
}

int xattr_value(const struct wloadfs *fs, uint32_t tensor, const char *name, struct text *text)
{
	struct wload_tensor t = wload_inventory_tensor(fs->inv, tensor);

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
		if (strcmp(attributes[i].name, name) == 0) {
			attributes[i].add(fs, tensor, &t, text);
			return text->failed ? -ENOMEM : 0;
		}
	return xattr_none(name);
}
