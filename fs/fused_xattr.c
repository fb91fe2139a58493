/* SPDX-License-Identifier: Apache-2.0 */
/* Values of a parameter's user.wload.* (see fused_xattr.h), found in a table. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fs/fused.h"
#include "fs/fused_xattr.h"
#include "fs/xattr.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "wloadfs/mount.h"

/* The kernel takes values of 64 KiB at most (linux/limits.h, XATTR_SIZE_MAX). */
#define SOURCES_BYTES_MAX (60u << 10)

static void add_name(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		     struct text *text)
{
	(void)look;
	(void)param;
	xattr_add_name(p->name, text);
}

static void add_dtype(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		      struct text *text)
{
	(void)look;
	(void)param;
	text_printf(text, "%s", wload_dtype_describe(p->dtype)->name);
}

static void add_shape(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		      struct text *text)
{
	(void)look;
	(void)param;
	xattr_add_shape(p->shape, p->rank, text);
}

static void add_bytes(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		      struct text *text)
{
	(void)look;
	(void)param;
	text_printf(text, "%" PRIu64, p->bytes);
}

static void add_state(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		      struct text *text)
{
	(void)p;
	text_printf(text, "%s", fused_shows(look, param) ? "live" : "consumed");
}

/* A tensor's sources follow each other, so that its name comes once. */
static bool is_further(const struct wload_param *p, uint32_t source)
{
	return source && p->sources[source].tensor == p->sources[source - 1].tensor;
}

static void add_sources(const struct fused_look *look, const struct wload_param *p, uint32_t param,
			struct text *text)
{
	(void)param;
	for (uint32_t s = 0; s < p->source_count; s++) {
		if (is_further(p, s))
			continue;
		if (text->len > SOURCES_BYTES_MAX) {
			text_printf(text, "\n… of %" PRIu32 " pieces", p->source_count);
			return;
		}
		if (s)
			text_add(text, "\n", 1);
		xattr_add_name(wload_inventory_tensor(look->fs->inv, p->sources[s].tensor).name,
			       text);
	}
}

static void add_transform(const struct fused_look *look, const struct wload_param *p,
			  uint32_t param, struct text *text)
{
	(void)look;
	(void)param;
	for (uint32_t s = 0; s < p->step_count; s++)
		if (s == 0 || strcmp(p->steps[s].name, p->steps[s - 1].name) != 0)
			text_printf(text, "%s%s", s ? ", " : "", p->steps[s].name);
	if (p->step_count == 0)
		text_printf(text, "none");
}

static const struct {
	const char *name;
	void (*add)(const struct fused_look *look, const struct wload_param *p, uint32_t param,
		    struct text *text);
} attributes[] = {
	{WLOAD_XATTR_PREFIX "name", add_name},
	{WLOAD_XATTR_PREFIX "dtype", add_dtype},
	{WLOAD_XATTR_PREFIX "shape", add_shape},
	{WLOAD_XATTR_PREFIX "bytes", add_bytes},
	{WLOAD_XATTR_PREFIX "state", add_state},
	{WLOAD_XATTR_PREFIX "sources", add_sources},
	{WLOAD_XATTR_PREFIX "transform", add_transform},
};

size_t fused_xattr_list(const char **ret_names)
{
	/* clang-format off */
	static const char names[] =
		WLOAD_XATTR_PREFIX "name\0" WLOAD_XATTR_PREFIX "dtype\0"
		WLOAD_XATTR_PREFIX "shape\0" WLOAD_XATTR_PREFIX "bytes\0"
		WLOAD_XATTR_PREFIX "state\0" WLOAD_XATTR_PREFIX "sources\0"
		WLOAD_XATTR_PREFIX "transform";
	/* clang-format on */

	*ret_names = names;
	return sizeof(names);
}

int fused_xattr_value(const struct wloadfs *fs, struct node file, const char *name,
		      struct text *text)
{
	struct fused_look look CLEANUP(fused_done) = {0};
	size_t i = 0;
	int r;

	while (i < sizeof(attributes) / sizeof(attributes[0]) &&
	       strcmp(attributes[i].name, name) != 0)
		i++;
	if (i == sizeof(attributes) / sizeof(attributes[0]))
		return xattr_none(name);
	r = fused_look(fs, file.who, &look);
	if (r < 0)
		return r;
	attributes[i].add(&look, wload_plan_param(look.planned.plan, file.index), file.index, text);
	return text->failed ? -ENOMEM : 0;
}
