/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_RANK_CHOICE_H
#define WLOAD_RANK_CHOICE_H

/* Which tensor-parallel rank is loaded, from what was asked for and what was named: a mount's
 * ranks/R is the folder of one of them. Pure. */

#include <stdint.h>

#include "wloadfs/loader.h"
#include "wloadfs/mount.h"

/* path      for the message
 * of_rank   path is ranks/path_rank of a mount with so many ranks
 * tp, rank  as asked for (struct wload_load_options)
 *
 * Returns 0, or -EINVAL when path is another rank's folder, or one of another number of ranks. That
 * the rank is below tp is the plan's to check. */
int rank_choose(const char *path, bool of_rank, uint32_t path_rank, uint32_t ranks, uint32_t tp,
		uint32_t rank, uint32_t *ret_rank, struct wload_error *err);

/* What is loaded of a rank's folder that is a checkpoint of its own (-o tp=): without tp the slice
 * that the mount made, and then ep and layout are the mount's.
 *
 * path    for the message
 * wanted  tp, ep and layout as asked for (0: not); completed, all but rank and rules
 *
 * Returns 0, or -EINVAL when something else was asked for than the folder is. */
int rank_take_slice(const char *path, const struct wload_mount_slice *slice,
		    struct wload_plan_options *wanted, struct wload_error *err);

#endif
