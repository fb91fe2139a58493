/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_MOUNT_H
#define WLOADFS_MOUNT_H

/* What a wloadfs mount promises its clients, and the client's side of it.
 *
 * MNT/tensors/NAME, MNT/modules/A/B/…, MNT/npy/NAME.npy   the tensors; unlink() consumes
 * MNT/fused/NAME          the parameters of a plan (plan.h): unlink() consumes each tensor that no
 *                         parameter which is still there needs
 * MNT/ranks/R/            with -o ranks=N or tp=N: see below
 * MNT/.wload/stats.json   one JSON object; members used here: "pid" (of the daemon),
 *                         "consumed_tensors", "consumed_bytes", "ranks" (N, 0 without), and
 *                         "rank" (R in a rank's folder, null at the root), and of -o tp=N "tp"
 *                         and "ep" (null without), "layout" (a name) and "rules" (the path of -o
 *                         rules=, or null). Bytes of the shards in
 *                         the page cache: "resident_bytes" now, "peak_resident_bytes" the most that
 *                         was counted; null: unknown. "trace" is null, or has "events", "dropped",
 *                         "shard_reads_seen", and for each list of trace-summary.json
 *                         {"tensors": N, "first": [names, 8 at most]} or null
 * MNT/.wload/index.jsonl  first line: {"checkpoint": PATH, "file": NAME or null, "tensors": N,
 *                           "shards": [{"name": …, "path": …, "dev": N, "ino": N, "bytes": N,
 *                           "mtime_ns": N}, …]}
 *                         then one tensor a line, in disk order: {"name": …, "file": name as in
 *                           tensors/, "dtype": …, "shape": […], "shard": N, "offset": N,
 *                           "bytes": N, "state": "live"|"consumed"}
 * MNT/.wload/layers.json  {"layers": [{"name": "model.layers.0", "tensors": N,
 *                           "consumed_tensors": N, "bytes": N, "consumed_bytes": N,
 *                           "resident_bytes": N or null}, …]}, in disk order of their first
 *                           tensors. A tensor's layer is its name up to and including its first
 *                           dot-component that is a number; else its name without the last
 *                           component; of a name without dots, itself. resident_bytes counts whole
 *                           pages; one at the border of two layers counts for both. null: unknown
 * MNT/.wload/metrics      Prometheus text format 0.0.4 (the root's alone, as the next two)
 * MNT/.wload/trace        with -o trace: JSON Lines, wloadfs(1) "TRACE"
 * MNT/.wload/trace-summary.json  with -o trace: {"never_read": [names], "partly_read": …,
 *                           "read_not_consumed": …, "consumed_unread": …, "reread": …,
 *                           "missing": …}; null for what is not known
 * MNT/.wload/consume      commands, one a line: `prefix P`, `key NAME`, `loaded NAME` (as key, of
 *                         a tensor that the client has read past the mount: it counts as read in a
 *                         trace), `all`, `restore`, `restore P`; P and NAME spelled as in tensors/
 *                         (escapes included). A read on the same descriptor gives one line for each
 *                         command whose count was not read yet: the number of tensors whose state
 *                         changed. A bad line, an empty prefix or an unknown key is EINVAL and
 *                         nothing of that write is done. A key that is already consumed counts 0.
 *
 * MNT/ranks/R/…           with -o ranks=N, R from 0 to N - 1: laid out like MNT, its own .wload/
 *                         included, but without ranks/. unlink() and commands there drop rank R's
 *                         claims, and "state", "consumed_tensors" and "consumed_bytes" tell of
 *                         them; a tensor is consumed when no rank claims it any more. stats.json
 *                         has "ranks" (N, 0 without the option), "rank" (R, null at the root) and
 *                         "claims", for each rank {"rank": R, "tensors": N, "bytes": N}: what it
 *                         still claims. At the root every claim is dropped, or comes back.
 *
 *                         With -o tp=N the folder is the checkpoint of rank R of N instead: its
 *                         shards and index are made, and those of the root are in
 *                         MNT/ranks/R/.wload/checkpoint/.
 *
 * Extended attributes of tensor files:
 * user.wload.{name,dtype,shape,shard,offset,bytes,state,claims}; of fused/:
 * user.wload.{name,dtype,shape,bytes,state,sources,transform}.
 *
 * "A mount" means: the entry of the path's st_dev in /proc/self/mountinfo has the type
 * "fuse.wloadfs". On any other path nothing is ever consumed. */

#include <stdbool.h>

#include "wloadfs/plan.h"
#include "wloadfs/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WLOAD_FS_TYPE	   "fuse.wloadfs"
#define WLOAD_CONTROL_DIR  ".wload"
#define WLOAD_XATTR_PREFIX "user.wload."

struct wload_mount;

/* Attaches to the mount whose root path is, or as one of its ranks where path is its ranks/R: then
 * everything below is that rank's, its claims and its view. Each call on it is a conversation of
 * its own, so any number of threads may use one at a time or together.
 *
 * Returns 0, or -ENODEV when path is not on a wloadfs mount, -EINVAL when it lies inside of one but
 * is neither (the message names the root), -ENOTCONN when the mount's daemon is gone (with how
 * to clear it), or what the system said. */
WLOAD_API int wload_mount_open(const char *path, struct wload_mount **ret_mount,
			       struct wload_error *err);
WLOAD_API void wload_mount_close(struct wload_mount *mount);

/* Whether the mount was opened as one of its ranks; then also
 *
 * ret_rank   which, from 0
 * ret_ranks  how many there are */
WLOAD_API bool wload_mount_rank(const struct wload_mount *mount, uint32_t *ret_rank,
				uint32_t *ret_ranks);

/* What the folder of a rank is a checkpoint of, on a mount with -o tp=. */
struct wload_mount_slice {
	uint32_t tp, ep, rank;
	enum wload_layout layout; /* WLOAD_LAYOUT_COUNT: one that is not known here */
	const char *rules;	  /* path of the rules file that the mount was given, NULL: none;
				   * borrowed until wload_mount_close() */
};

/* Whether the mount was opened as one of its ranks, which has its slice of the checkpoint; then
 * also which. The checkpoint that it was sliced from is its .wload/checkpoint/. */
WLOAD_API bool wload_mount_slice(const struct wload_mount *mount, struct wload_mount_slice *ret);

/* mark_consumed: every tensor under `prefix + "."`.
 *
 * prefix     a module's name in the checkpoint's spelling; not empty
 * ret_count  tensors that were live before; may be NULL
 *
 * When it returns their names are gone and every cached page that nobody else needs is too.
 * Idempotent. Returns 0, -EINVAL (empty prefix), -EACCES, or what the system said. */
WLOAD_API int wload_mark_consumed(struct wload_mount *mount, const char *prefix,
				  uint64_t *ret_count, struct wload_error *err);

/* The same for exact names, in the checkpoint's spelling. -EINVAL when one of them is no tensor of
 * the mount: those that were sent in one write with it (128 KiB, above a thousand names) then stay
 * as they were, those of earlier writes are consumed. */
WLOAD_API int wload_mark_consumed_keys(struct wload_mount *mount, const char *const *names,
				       size_t name_count, uint64_t *ret_count,
				       struct wload_error *err);

/* The same, and says of each name whether this call consumed it.
 *
 * ret_changed  name_count flags: the tensor was live before */
WLOAD_API int wload_mark_consumed_each(struct wload_mount *mount, const char *const *names,
				       size_t name_count, bool *ret_changed,
				       struct wload_error *err);

/* The same for tensors that the caller read from the checkpoint's own files, which the mount does
 * not see: so that its trace does not call them consumed unread. A mount that does not know the
 * difference is told what wload_mark_consumed_each() tells it. */
WLOAD_API int wload_mark_loaded_each(struct wload_mount *mount, const char *const *names,
				     size_t name_count, bool *ret_changed, struct wload_error *err);

/* The same for every tensor. */
WLOAD_API int wload_mark_consumed_all(struct wload_mount *mount, uint64_t *ret_count,
				      struct wload_error *err);

/* Brings consumed tensors back: those under `prefix + "."`, or all (NULL). */
WLOAD_API int wload_mount_restore(struct wload_mount *mount, const char *prefix,
				  uint64_t *ret_count, struct wload_error *err);

/* Drops all claims of one of the mount's ranks, such as one that died. Tensors that no other rank
 * claims are consumed.
 *
 * mount      opened at its root
 * ret_count  tensors that the rank had claims on; may be NULL
 *
 * Idempotent. Returns 0, -EINVAL when the mount has no such rank, or none at all, or was opened as
 * one of its ranks (the message says which), -EACCES, or what the system said. */
WLOAD_API int wload_mount_release(struct wload_mount *mount, uint32_t rank, uint64_t *ret_count,
				  struct wload_error *err);

/* Asks whether this process may consume, without consuming anything.
 *
 * Returns 0, -EROFS on a mount that is read-only, -EACCES for another user, or what the system
 * said. */
WLOAD_API int wload_mount_may_consume(struct wload_mount *mount, struct wload_error *err);

/* The text of stats.json, allocated, given away. */
WLOAD_API int wload_mount_stats(struct wload_mount *mount, char **ret_json,
				struct wload_error *err);

/* The text of layers.json, allocated, given away. Returns 0, -ENOENT when the mount's daemon tells
 * of no layers, or what the system said. */
WLOAD_API int wload_mount_layers(struct wload_mount *mount, char **ret_json,
				 struct wload_error *err);

#ifdef __cplusplus
}
#endif
#endif
