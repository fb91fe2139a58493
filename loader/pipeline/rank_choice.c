/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>

#include "loader/pipeline/rank_choice.h"

int rank_choose(const char *path, bool of_rank, uint32_t path_rank, uint32_t ranks, uint32_t tp,
		uint32_t rank, uint32_t *ret_rank, struct wload_error *err)
{
	bool given = rank != WLOAD_RANK_OF_PATH;

	if (!of_rank || tp <= 1) {
		*ret_rank = given ? rank : 0;
		return 0;
	}
	if (tp != ranks)
		return wload_fail(err, EINVAL,
				  "tp %" PRIu32 ": '%s' is the folder of one of %" PRIu32 " ranks",
				  tp, path, ranks);
	if (given && rank != path_rank)
		return wload_fail(err, EINVAL,
				  "rank %" PRIu32 ": '%s' is the folder of rank %" PRIu32, rank,
				  path, path_rank);
	*ret_rank = path_rank;
	return 0;
}

int rank_take_slice(const char *path, const struct wload_mount_slice *slice,
		    struct wload_plan_options *wanted, struct wload_error *err)
{
	uint32_t ep = wanted->ep ? wanted->ep : 1;

	if (wanted->tp)
		return 0; /* all of it was asked for: rank_choose() has the rest to say */
	if (slice->layout == WLOAD_LAYOUT_COUNT)
		return wload_fail(err, EINVAL,
				  "'%s' is made by a layout that this version does not know", path);
	if (ep > 1 && ep != slice->ep)
		return wload_fail(err, EINVAL, "ep %" PRIu32 ": '%s' is made with ep %" PRIu32, ep,
				  path, slice->ep);
	if (wanted->layout && wanted->layout != slice->layout)
		return wload_fail(err, EINVAL, "layout %s: '%s' is made with layout %s",
				  wload_layout_name(wanted->layout), path,
				  wload_layout_name(slice->layout));
	wanted->tp = slice->tp;
	wanted->ep = slice->ep;
	wanted->layout = slice->layout;
	return 0;
}
