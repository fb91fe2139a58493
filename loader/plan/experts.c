/* SPDX-License-Identifier: Apache-2.0 */
/* An expert of [E, rows, columns…] is a matrix of rows; what is past its columns is part of them
 * (blocks of 16 bytes, say). Its parts are
 *
 *   one behind the other    [gate, up]     in halves of the rows
 *   interleaved             [gate 0, up 0, gate 1, up 1, …]
 *
 * and the same of the columns where it is stored transposed. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan/experts.h"

/* What one expert of a tensor is, in elements. */
struct expert {
	uint64_t rows, columns; /* of the matrix that is wanted */
	uint64_t along;		/* in the tensor, of one of its rows */
	uint64_t width;		/* bytes of an element */
};

static struct expert expert_of(const struct rules_experts *rule, const struct wload_tensor *t)
{
	struct expert e = {.rows = t->shape[1],
			   .columns = 1,
			   .width = wload_dtype_describe(t->dtype)->bits / 8};

	for (uint32_t i = 2; i < t->rank; i++)
		e.columns *= t->shape[i]; /* at most the tensor's elements */
	e.along = e.columns;
	if (rule->transposed) {
		e.columns = e.rows;
		e.rows = e.along;
	}
	return e;
}

bool experts_fit(const struct rules_experts *rule, const struct wload_tensor *t, uint32_t experts)
{
	uint32_t bits = wload_dtype_describe(t->dtype)->bits;

	if (t->rank < 2 || t->bytes == 0 || t->shape[0] != experts || bits % 8)
		return false;
	/* a byte may hold two values of a row */
	if (rule->transposed && (t->rank != 3 || t->dtype == WLOAD_DTYPE_U8))
		return false;
	return expert_of(rule, t).rows % rule->parts.count == 0;
}

/* Bytes past the columns are a block of those, and two values each. */
static void set_units(const struct wload_tensor *t, struct draft_view *view)
{
	uint64_t block = 1;

	for (uint32_t i = 3; i < t->rank; i++)
		block *= t->shape[i]; /* at most the tensor's elements */
	view->unit[0] = t->rank > 3 && t->dtype == WLOAD_DTYPE_U8 ? 2 * block : 1;
	view->unit[1] = block;
}

/* Makes STEM EXPERT "." PART "." LEAF in the arena. */
static char *view_name(struct draft *draft, const struct rules_experts *rule, const char *of,
		       size_t stem_len, uint32_t expert, uint32_t index)
{
	const char *part = rule->parts.items[index];
	size_t room = stem_len + strlen(part) + strlen(rule->leaf) + sizeof("4294967295..");
	char *name = arena_take(draft->arena, room);

	if (name)
		(void)snprintf(name, room, "%.*s%" PRIu32 ".%s.%s", (int)stem_len, of, expert, part,
			       rule->leaf);
	return name;
}

int experts_view(struct draft *draft, const struct rules_experts *rule, uint32_t tensor,
		 size_t stem_len, uint32_t expert, uint32_t index, uint32_t *ret_part,
		 struct wload_error *err)
{
	struct wload_tensor t = wload_inventory_tensor(draft->inv, tensor);
	const struct expert e = expert_of(rule, &t);
	uint64_t all = t.bytes / t.shape[0], parts = rule->parts.count, rows = e.rows / parts;
	uint64_t row = e.along * e.width, behind = rows * (rule->transposed ? e.width : row);
	uint64_t *shape = arena_take(draft->arena, 2 * sizeof(*shape));
	struct draft_view view = {.tensor = tensor, .weight = DRAFT_FREE, .one_of_all = true};
	bool mixed = rule->interleaved && parts > 1;

	view.part = t;
	view.part.name = view_name(draft, rule, t.name, stem_len, expert, index);
	if (!shape || !view.part.name)
		return wload_fail(err, ENOMEM, "out of memory");
	shape[0] = rows;
	shape[1] = e.columns;
	view.part.shape = shape;
	view.part.rank = t.rank > 2 ? 2 : 1;
	view.part.bytes = all / parts;
	view.offset = expert * all + (mixed ? 0 : index * behind);
	view.transposed = rule->transposed;
	view.staged = rule->transposed || (mixed && row < EXPERTS_ROW_BYTES);
	view.row = row;
	view.of = mixed ? (uint32_t)parts : 1;
	view.at = mixed ? index : 0;
	view.count = mixed ? rows : 1;
	view.piece = mixed ? row : rows * row;
	view.stride = view.of * row;
	if (mixed && !view.staged)
		view.offset += index * row;
	set_units(&t, &view);
	return draft_add_view(draft, &view, ret_part, err);
}
