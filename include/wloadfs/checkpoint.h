/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CHECKPOINT_H
#define WLOADFS_CHECKPOINT_H

/* A safetensors checkpoint: its shards, opened, and the inventory of their tensors.
 *
 * Which shards: PATH may be one .safetensors file. In a folder the index file decides
 * ("model.safetensors.index.json", or the only "*.safetensors.index.json"), whose "weight_map" maps
 * tensor names to shard files inside the folder. Without one, every "*.safetensors" of the folder
 * itself except "consolidated*", in the order of their names.
 *
 * Formats: https://github.com/huggingface/safetensors#format ;
 * https://huggingface.co/docs/safetensors/metadata_parsing and transformers' `save_pretrained`
 * for the index. */

#include "wloadfs/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wload_checkpoint;

struct wload_shard {
	const char *name;     /* relative to the checkpoint's folder, as the index spells it */
	const char *path;     /* absolute path that was opened */
	int fd;		      /* O_RDONLY, read without read-ahead (POSIX_FADV_RANDOM); borrowed */
	uint64_t bytes;	      /* size of the file */
	uint64_t data_offset; /* where the tensors' bytes begin, from the file's first byte */
	uint64_t dev, ino;    /* of the opened file */
	int64_t mtime_ns;
	uint32_t first, end; /* its tensors are [first, end) in the inventory */
};

/* Opens the file that serves as a shard; lets a caller read the shards of a mount from elsewhere.
 *
 * name      as the index spells it
 * ret_fd    gives the descriptor away
 * ret_path  an allocated absolute path, for messages; given away
 *
 * Returns 0 or -errno with err filled. */
typedef int (*wload_shard_opener)(void *ctx, const char *name, int *ret_fd, char **ret_path,
				  struct wload_error *err);

/* Opens a checkpoint: reads its index and every shard's header, checks all of both.
 *
 * path    a folder or one .safetensors file
 * opener  NULL: the shards in the folder; else called once for each shard, with ctx
 *
 * Headers are read without read-ahead and their pages dropped from the page cache again.
 *
 * Returns 0, or
 *   -ENOENT      path, or a shard that the index names, does not exist; or there are no shards
 *   -EBADMSG     a header or the index breaks its format (the message says where); the index names
 *                a tensor that its shard lacks; without an index, two shards hold the same name
 *   -EOPNOTSUPP  an unknown data type, or an index that names a file outside the folder
 *   -E2BIG       a header or the index is over our limit, or there are over 2^32-2 tensors
 *   -ENOMEM, or what the system said (EACCES, EIO, EMFILE …). */
WLOAD_API int wload_checkpoint_open(const char *path, wload_shard_opener opener, void *ctx,
				    struct wload_checkpoint **ret_ckpt, struct wload_error *err);

/* Closes the shards and frees everything; NULL is fine. */
WLOAD_API void wload_checkpoint_close(struct wload_checkpoint *ckpt);

/* All of these are borrowed until wload_checkpoint_close(). */
WLOAD_API const struct wload_inventory *wload_checkpoint_inventory(
	const struct wload_checkpoint *ckpt);
WLOAD_API uint32_t wload_checkpoint_shard_count(const struct wload_checkpoint *ckpt);
WLOAD_API const struct wload_shard *wload_checkpoint_shard(const struct wload_checkpoint *ckpt,
							   uint32_t shard);

/* The absolute path of the folder (of the file's folder, when one file was opened). */
WLOAD_API const char *wload_checkpoint_folder(const struct wload_checkpoint *ckpt);

/* The name of the one file that was opened, NULL when a folder was. */
WLOAD_API const char *wload_checkpoint_file(const struct wload_checkpoint *ckpt);

/* An O_PATH descriptor of that folder, taken before anything was read. */
WLOAD_API int wload_checkpoint_folder_fd(const struct wload_checkpoint *ckpt);

#define WLOAD_CONFIG_FILE "config.json"

/* The text of config.json beside the shards (NUL-terminated, read as it is), or NULL. */
WLOAD_API const char *wload_checkpoint_config(const struct wload_checkpoint *ckpt);

/* Things worth a warning that did not stop the opening (a shard's tensor that the index does not
 * list, a copy of a tensor that the index places elsewhere …): NULL past the last one. */
WLOAD_API const char *wload_checkpoint_warning(const struct wload_checkpoint *ckpt, uint32_t i);

/* Checks that a shard still is the file that was opened: same size and mtime.
 *
 * Returns 0, or -ESTALE naming it, or what fstat said. */
WLOAD_API int wload_checkpoint_check(const struct wload_checkpoint *ckpt, uint32_t shard,
				     struct wload_error *err);

#ifdef __cplusplus
}
#endif
#endif
