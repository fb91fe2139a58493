/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters that were taken from their load. One holds a reference to it, for the load has the
 * device; of memory that parameters share it has the memory, too. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "loader/base/cleanup.h"
#include "loader/pipeline/result.h"

struct taken {
	struct wload_owned owned; /* first: wload_owned_free() gets its address */
	struct wload_load *load;
	uint32_t index;
};

int wload_load_take(struct wload_load *load, uint32_t index, struct wload_owned **ret_owned,
		    struct wload_error *err)
{
	CLEANUP_FREE struct taken *taken = NULL;
	struct wload_loaded *param;

	if (index >= load->count)
		return wload_fail(err, ENOENT, "parameter %" PRIu32 " of %" PRIu32, index,
				  load->count);
	param = &load->params[index];
	if (!param->device_ptr || param_releases(load->memory.release))
		return wload_fail(err, ENOENT, "parameter '%s' has no memory that could be taken",
				  param->name);
	taken = calloc(1, sizeof(*taken));
	if (!taken)
		return wload_fail(err, ENOMEM, "no memory to take '%s'", param->name);
	*taken = (struct taken){.owned = {param->device_ptr, param->bytes},
				.load = wload_load_ref(load),
				.index = index};
	param->device_ptr = NULL;
	*ret_owned = &TAKE_PTR(taken)->owned;
	return 0;
}

void wload_owned_free(struct wload_owned *owned)
{
	struct taken *taken = (struct taken *)owned;

	if (!taken)
		return;
	param_memory_drop(&taken->load->memory, taken->index);
	wload_load_unref(taken->load);
	free(taken);
}
