/* SPDX-License-Identifier: Apache-2.0 */
/* Our safetensors parser as a filter, for tests/oracles/safetensors_agrees.py: reads whole files
 * from standard input, each behind its length in 8 little-endian bytes, and answers each with one
 * line:
 *
 *     accept [NAME DTYPE BEGIN END DIM…] …     names in hexadecimal, tensors in disk order
 *     refuse ERRNO MESSAGE */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"

static void print_tensor(const struct wload_tensor *tensor)
{
	const char *p;
	uint32_t i;

	printf(" [");
	for (p = tensor->name; *p; p++)
		printf("%02x", (unsigned char)*p);
	printf(" %s %" PRIu64 " %" PRIu64, wload_dtype_describe(tensor->dtype)->name,
	       tensor->offset, tensor->offset + tensor->bytes);
	for (i = 0; i < tensor->rank; i++)
		printf(" %" PRIu64, tensor->shape[i]);
	printf("]");
}

static void answer(const uint8_t *file, uint64_t bytes, struct safetensors_header *header)
{
	struct wload_error err = {0};
	struct wload_tensor tensor;
	uint64_t len = 0;
	size_t i;
	int r = safetensors_read_prefix(file, bytes, &len, &err);

	if (r == 0)
		r = safetensors_parse_header(file + SAFETENSORS_PREFIX_BYTES, len,
					     bytes - SAFETENSORS_PREFIX_BYTES - len, header, &err);
	if (r < 0) {
		printf("refuse %d %s\n", err.code, err.text);
		return;
	}
	printf("accept");
	for (i = 0; i < header->count; i++) {
		tensor = safetensors_tensor(header, i);
		print_tensor(&tensor);
	}
	printf("\n");
}

int main(void)
{
	struct safetensors_header header CLEANUP(safetensors_clear) = {0};
	uint8_t *file;
	uint64_t bytes;

	while (fread(&bytes, sizeof(bytes), 1, stdin) == 1) {
		file = malloc(bytes + 1);
		if (!file || fread(file, 1, bytes, stdin) != bytes)
			return 1;
		answer(file, bytes, &header);
		fflush(stdout);
		free(file);
	}
	return 0;
}
