/* SPDX-License-Identifier: Apache-2.0 */
/* The draft keeps claims only; which tensors a rule wants is in fuse.c and tied.c. */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/plan/draft.h"

#define DRAFT_SHOWN_MAX 200 /* bytes; three such names and a rule's words fit a note */

int draft_init(struct draft *draft, const struct wload_inventory *inv, struct arena *arena,
	       struct wload_error *err)
{
	size_t count = wload_inventory_count(inv);

	*draft = (struct draft){.inv = inv, .tensor_count = (uint32_t)count, .arena = arena};
	draft->owner = malloc((count ? count : 1) * sizeof(*draft->owner));
	if (!draft->owner)
		return wload_fail(err, ENOMEM, "out of memory");
	memset(draft->owner, 0xff, count * sizeof(*draft->owner)); /* DRAFT_FREE */
	return 0;
}

void draft_done(struct draft *draft)
{
	free(draft->owner);
	free(draft->joins);
	free(draft->parts);
	free(draft->views);
}

void draft_leave_out(struct draft *draft, uint32_t tensor)
{
	assert(draft->owner[tensor] == DRAFT_FREE);
	draft->owner[tensor] = DRAFT_LEFT_OUT;
	draft->left_out++;
}

int draft_add_view(struct draft *draft, const struct draft_view *view, uint32_t *ret_part,
		   struct wload_error *err)
{
	if (draft->view_count >= DRAFT_LEFT_OUT - draft->tensor_count)
		return wload_fail(err, E2BIG, "over 2^32 parts of tensors");
	if (!grow_array(&draft->views, &draft->view_cap, draft->view_count + 1,
			sizeof(*draft->views)))
		return wload_fail(err, ENOMEM, "out of memory");
	*ret_part = draft->tensor_count + (uint32_t)draft->view_count;
	draft->views[draft->view_count++] = *view;
	return 0;
}

const struct draft_view *draft_view(const struct draft *draft, uint32_t part)
{
	return part < draft->tensor_count ? NULL : &draft->views[part - draft->tensor_count];
}

struct wload_tensor draft_part(const struct draft *draft, uint32_t part)
{
	const struct draft_view *view = draft_view(draft, part);

	return view ? view->part : wload_inventory_tensor(draft->inv, part);
}

uint32_t draft_tensor(const struct draft *draft, uint32_t part)
{
	const struct draft_view *view = draft_view(draft, part);

	return view ? view->tensor : part;
}

int draft_join(struct draft *draft, const struct draft_join *join, const uint32_t *parts,
	       struct wload_error *err)
{
	size_t count = (size_t)join->parts * draft_join_experts(join), i;
	uint32_t *owner;

	if (draft->part_count + count > UINT32_MAX)
		return wload_fail(err, E2BIG, "over 2^32 parts of parameters");
	if (!grow_array(&draft->joins, &draft->join_cap, draft->join_count + 1,
			sizeof(*draft->joins)) ||
	    !grow_array(&draft->parts, &draft->part_cap, draft->part_count + count,
			sizeof(*draft->parts)))
		return wload_fail(err, ENOMEM, "out of memory");
	draft->joins[draft->join_count] = *join;
	draft->joins[draft->join_count].first_part = (uint32_t)draft->part_count;
	for (i = 0; i < count; i++) {
		owner = &draft->owner[draft_tensor(draft, parts[i])];
		assert(*owner != DRAFT_LEFT_OUT);
		draft->joined += *owner == DRAFT_FREE;
		if (*owner == DRAFT_FREE)
			*owner = (uint32_t)draft->join_count;
		draft->parts[draft->part_count++] = parts[i];
	}
	draft->join_count++;
	return 0;
}

void draft_note(struct draft *draft, const char *fmt, ...)
{
	struct draft_note *note = &draft->note;
	unsigned char *p;
	va_list args;

	if (note->text[0]) {
		note->more++;
		return;
	}
	va_start(args, fmt);
	(void)vsnprintf(note->text, sizeof(note->text), fmt, args);
	va_end(args);
	for (p = (unsigned char *)note->text; *p; p++)
		if (*p < 0x20 || *p == 0x7f)
			*p = '?';
}

int draft_shown(const char *name)
{
	size_t len = strnlen(name, DRAFT_SHOWN_MAX + 1);

	if (len <= DRAFT_SHOWN_MAX)
		return (int)len;
	for (len = DRAFT_SHOWN_MAX; len > 0 && ((unsigned char)name[len] & 0xc0) == 0x80;)
		len--; /* never half a UTF-8 sequence */
	return (int)len;
}
