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
