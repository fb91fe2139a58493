/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_OUT_H
#define WLOAD_OUT_H

/* --out DIR: what was loaded, as a safetensors checkpoint.
 *
 * Everything about the files is known from the plan, so they are laid out, and their space asked
 * for, before the load begins, and parameters are written in whatever order they arrive. Until
 * out_commit() they have hidden names of their own. The source's config.json goes beside them,
 * unless the folder has one already. All but parameters is written before the load begins too, so
 * that what can fail has failed by then. */

#include <stddef.h>
#include <stdint.h>

#include "wloadfs/plan.h"

struct out;

/* Makes the folder (its parent must exist), and in it the files with their headers.
 *
 * config       text of config.json, or NULL
 * shard_bytes  of parameters in a file at most; OUT_SHARD_BYTES but for tests
 *
 * Returns 0, -EEXIST when the folder holds a *.safetensors or an index already or what an
 * interrupted load left, -ENOSPC, -ENOMEM, or what the system said. */
int out_open(const char *dir, const struct wload_plan *plan, const char *config,
	     uint64_t shard_bytes, struct out **ret_out, struct wload_error *err);

/* Writes n bytes of a parameter from `offset` in it. One thread at a time. */
int out_write(struct out *out, uint32_t param, uint64_t offset, const uint8_t *bytes, size_t n,
	      struct wload_error *err);

/* Everything is on disk; the files get their names, the index last. */
int out_commit(struct out *out, struct wload_error *err);

/* Without out_commit() before, removes what out_open() made. NULL is fine. */
void out_close(struct out *out);

#endif
