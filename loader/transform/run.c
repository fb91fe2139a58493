/* SPDX-License-Identifier: Apache-2.0 */
/* All steps of a parameter whose staged bytes are in memory: each is one box. */

#include <string.h>

#include "loader/transform/rows.h"
#include "loader/transform/steps.h"
#include "loader/transform/transform.h"

int transform_run(const struct wload_param *param, const uint8_t *staged, uint8_t *out,
		  struct wload_error *err)
{
	if (param->zeroed)
		memset(out, 0, param->bytes);
	for (uint32_t s = 0; s < param->step_count; s++) {
		const struct wload_step *step = &param->steps[s];
		struct rows rows = {.step = step, .box = box_of(step), .out = out};
		struct wload_error why = {0};
		int r;

		if (box_empty(&rows.box))
			continue;
		steps_in_memory(step, staged, &rows);
		steps_out_strides(step, rows.out_stride);
		rows.out_first = steps_out(step, &rows.box);
		r = rows_run(&rows, &why);
		if (r < 0)
			return steps_fail(param, step, &why, err);
	}
	return 0;
}
