/* SPDX-License-Identifier: Apache-2.0 */
/* Sources keep the order and the gaps that they have in their own parameters: whatever is known of
 * where an element is there holds from the operand's first byte on. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/plan/staging.h"

static uint64_t operand_bytes(const struct wload_param *p)
{
	return p->step_count ? p->staged_bytes : p->bytes;
}

int staging_lay(struct arena *arena, const struct wload_param *const *operands, size_t count,
		struct staging *ret, struct wload_error *err)
{
	uint64_t sources = 0, at = 0;

	*ret = (struct staging){0};
	for (size_t i = 0; i < count; i++)
		sources += operands[i]->source_count;
	if (sources > UINT32_MAX)
		return wload_fail(err, E2BIG, "'%.*s' has over 2^32 sources",
				  DRAFT_SHOW(operands[0]->name));
	ret->sources = arena_take(arena, sources * sizeof(*ret->sources));
	if (!ret->sources)
		return wload_fail(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		const struct wload_param *p = operands[i];

		if (!checked_add(at, STAGING_ALIGN - 1, &at) ||
		    !checked_add(ret->at[i] = at / STAGING_ALIGN * STAGING_ALIGN, operand_bytes(p),
				 &at))
			return wload_fail(err, E2BIG, "'%.*s' is made of over 2^64 bytes",
					  DRAFT_SHOW(operands[0]->name));
		for (uint32_t s = 0; s < p->source_count; s++) {
			ret->sources[ret->source_count] = p->sources[s];
			ret->sources[ret->source_count++].dst_offset += ret->at[i];
		}
		ret->source_bytes += p->source_bytes;
	}
	ret->bytes = at;
	return 0;
}

static bool makes_nothing(const struct wload_step *step)
{
	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		if (step->size[d] == 0)
			return true;
	return false;
}

void staging_use(struct wload_param *param, const struct staging *staging, struct wload_step *steps,
		 uint32_t step_count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < step_count; i++)
		if (!makes_nothing(&steps[i]))
			steps[kept++] = steps[i];
	if (kept == 0)
		return;
	param->steps = steps;
	param->step_count = kept;
	param->sources = staging->sources;
	param->source_count = staging->source_count;
	param->source_bytes = staging->source_bytes;
	param->staged_bytes = staging->bytes;
}

uint64_t staging_elements(const struct wload_param *param)
{
	return operand_bytes(param) / (wload_dtype_describe(param->dtype)->bits / 8);
}

bool staging_place(const struct laid *laid, uint32_t boxes, uint32_t index, uint32_t *ret_expert,
		   uint32_t *ret_part)
{
	uint32_t parts = laid->join ? laid->join->parts : 1;

	*ret_expert = index / parts;
	*ret_part = index % parts;
	return boxes % parts == 0 && (boxes == parts || (laid->join && laid->join->experts));
}

/* A step that moves `size` elements in dimension 5, and nothing else. */
static struct wload_step move_of(enum wload_dtype dtype, uint64_t size)
{
	struct wload_step step = {
		.kind = WLOAD_STEP_MOVE, .name = "move", .from = dtype, .to = dtype};

	for (unsigned int d = 0; d < WLOAD_STEP_DIMS; d++)
		step.size[d] = step.block[d] = 1;
	step.size[WLOAD_STEP_DIMS - 1] = size;
	step.in_stride[WLOAD_STEP_DIMS - 1] = step.out_stride[WLOAD_STEP_DIMS - 1] = 1;
	return step;
}

/* One expert's part as a box: the shape's dimensions from `first` on, `rows` of that. */
static struct wload_step box_of(const struct wload_param *p, uint32_t first, uint64_t rows)
{
	struct wload_step box = move_of(p->dtype, 1);
	uint64_t stride = 1;

	for (uint32_t i = p->rank, d = WLOAD_STEP_DIMS - 1; i-- > first; d--) {
		box.size[d] = i == first ? rows : p->shape[i];
		box.in_stride[d] = box.out_stride[d] = stride;
		stride *= box.size[d]; /* at most the parameter's elements */
	}
	return box;
}

/* Elements of that. */
static uint64_t count_of(const struct wload_param *p, uint32_t first, uint64_t rows)
{
	uint64_t n = p->rank > first ? rows : 1;

	for (uint32_t i = first + 1; i < p->rank; i++)
		n *= p->shape[i]; /* at most the parameter's elements */
	return n;
}

int staging_boxes(struct arena *arena, const struct wload_param *param, const struct laid *laid,
		  bool flat, struct wload_step **ret_steps, uint32_t *ret_count,
		  struct wload_error *err)
{
	bool stack = laid->join && laid->join->experts && param->rank > 1;
	uint32_t parts = laid->join && param->rank > stack ? laid->join->parts : 1;
	uint64_t experts = stack ? param->shape[0] : 1, at = 0,
		 width = wload_dtype_describe(param->dtype)->bits / 8;
	uint64_t count = param->step_count ? param->step_count : experts * parts;
	struct wload_step *steps;

	if (param->rank > WLOAD_STEP_DIMS && !flat)
		return wload_fail(err, EOPNOTSUPP, "'%.*s' has %" PRIu32 " dimensions, over %d",
				  DRAFT_SHOW(param->name), param->rank, WLOAD_STEP_DIMS);
	steps = arena_take(arena, count * sizeof(*steps));
	if (!steps)
		return wload_fail(err, ENOMEM, "out of memory");
	*ret_steps = steps;
	*ret_count = (uint32_t)count;
	if (param->step_count) {
		memcpy(steps, param->steps, count * sizeof(*steps));
		return 0;
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t rows = parts > 1	      ? laid->rows[i % parts]
				: param->rank > stack ? param->shape[stack]
						      : 1,
			 elements = count_of(param, stack, rows);

		steps[i] = flat ? move_of(param->dtype, elements) : box_of(param, stack, rows);
		steps[i].in = steps[i].out = at;
		at += elements * width; /* at most the parameter's bytes */
	}
	return 0;
}
