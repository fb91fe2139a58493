/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_SAFETENSORS_H
#define WLOAD_CHECKPOINT_SAFETENSORS_H

/* The safetensors file format (https://github.com/huggingface/safetensors#format):
 *
 * 1. 8 bytes: N, little-endian, the length of the header
 * 2. N bytes: the header, a JSON object: "NAME": {"dtype": "BF16", "shape": [2, 3],
 *    "data_offsets": [BEGIN, END]} for each tensor, offsets from the end of the header; and
 * optionally
 *    "__metadata__": an object of strings
 * 3. the tensors' bytes, which tile the rest of the file: no gap, no overlap, nothing behind
 *
 * Accepted and refused is exactly what the reference implementation 0.8 does. */

#include "wloadfs/tensor.h"

#define SAFETENSORS_PREFIX_BYTES 8
#define SAFETENSORS_HEADER_MAX	 UINT64_C(100000000) /* the reference's MAX_HEADER_SIZE */

/* A parsed header. Start from {0}; may be parsed into again and again, which reuses its memory. */
struct safetensors_header {
	struct safetensors_entry *entries; /* sorted by begin, end, name */
	char *names;
	uint64_t *dims;
	size_t count, cap;
	size_t names_len, names_cap;
	size_t dims_len, dims_cap;
};

/* Reads the header's length from a file's first 8 bytes.
 *
 * prefix     the file's first SAFETENSORS_PREFIX_BYTES bytes, or all of a shorter file
 * file_bytes size of the file; the header must end inside it
 * ret_len    length of the header, prefix not counted
 *
 * Returns 0, -EBADMSG when the file is too short for it, -E2BIG over SAFETENSORS_HEADER_MAX. */
int safetensors_read_prefix(const uint8_t *prefix, uint64_t file_bytes, uint64_t *ret_len,
			    struct wload_error *err);

/* Parses a header and checks it.
 *
 * json        its bytes, without the prefix
 * data_bytes  what the file holds behind the header
 *
 * Returns 0, -EBADMSG when it breaks the format, -EOPNOTSUPP for an unknown data type, or -ENOMEM.
 */
int safetensors_parse_header(const uint8_t *json, size_t len, uint64_t data_bytes,
			     struct safetensors_header *header, struct wload_error *err);

/* The tensor at index (below header->count), its offset from the end of the header, its shard 0.
 * Borrowed from the header. */
struct wload_tensor safetensors_tensor(const struct safetensors_header *header, size_t index);

/* Frees what the header holds. */
void safetensors_clear(struct safetensors_header *header);

/* Writes a prefix and header for these tensors in this order, with the metadata {"format":"pt"},
 * padded with spaces to a multiple of 8.
 *
 * tensors    their offsets are from the end of the header; shard is not used
 * ret_bytes  allocated; given away
 *
 * Returns 0, -EINVAL for the name "__metadata__", -E2BIG over SAFETENSORS_HEADER_MAX, or -ENOMEM.
 */
int safetensors_write_header(const struct wload_tensor *tensors, size_t count, uint8_t **ret_bytes,
			     size_t *ret_len, struct wload_error *err);

#endif
