/* SPDX-License-Identifier: Apache-2.0 */
/* Property: an accepted header's tensors tile the data section, and written again and read again
 * they are the same tensors. */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *file, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *file, size_t bytes)
{
	struct safetensors_header once CLEANUP(safetensors_clear) = {0};
	struct safetensors_header again CLEANUP(safetensors_clear) = {0};
	struct wload_tensor *tensors CLEANUP_FREE = NULL, b;
	uint8_t *text CLEANUP_FREE = NULL;
	uint64_t len, end = 0;
	size_t i, text_len;

	if (safetensors_read_prefix(file, bytes, &len, NULL) < 0 ||
	    safetensors_parse_header(file + 8, len, bytes - 8 - len, &once, NULL) < 0)
		return 0;
	tensors = calloc(once.count + 1, sizeof(*tensors));
	for (i = 0; i < once.count; i++) {
		tensors[i] = safetensors_tensor(&once, i);
		assert(tensors[i].offset == end);
		end += tensors[i].bytes;
	}
	assert(end == bytes - 8 - len);
	assert(safetensors_write_header(tensors, once.count, &text, &text_len, NULL) == 0);
	assert(safetensors_parse_header(text + 8, text_len - 8, end, &again, NULL) == 0);
	for (i = 0; i < once.count; i++) {
		b = safetensors_tensor(&again, i);
		assert(strcmp(b.name, tensors[i].name) == 0 && b.offset == tensors[i].offset);
	}
	return 0;
}
