/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the header of a safetensors file, as the reference's writer spells it: no spaces, metadata
 * first, padding behind; only the order of the tensors is the caller's. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"

struct text {
	char *bytes;
	size_t len, cap;
	bool short_of_memory; /* once it is, nothing more is added */
};

static void put(struct text *t, const char *bytes, size_t len)
{
	if (t->short_of_memory || !grow_array(&t->bytes, &t->cap, t->len + len, 1)) {
		t->short_of_memory = true;
		return;
	}
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

__attribute__((format(printf, 2, 3))) static void putf(struct text *t, const char *fmt, ...)
{
	char line[128];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	put(t, line, (size_t)len);
}

static void put_escaped(struct text *t, unsigned char c)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *found = strchr(from, c);

	if (found)
		putf(t, "\\%c", to[found - from]);
	else
		putf(t, "\\u%04x", c);
}

/* A name in modified UTF-8 as a JSON string. */
static void put_string(struct text *t, const char *s)
{
	const unsigned char *p = (const unsigned char *)s, *run = p;

	put(t, "\"", 1);
	for (; *p; p++) {
		if (*p >= 0x20 && *p != '"' && *p != '\\' && *p != 0xc0)
			continue;
		put(t, (const char *)run, (size_t)(p - run));
		if (*p == 0xc0) { /* C0 80, a NUL */
			put(t, "\\u0000", 6);
			p += p[1] != '\0';
		} else {
			put_escaped(t, *p);
		}
		run = p + 1;
	}
	put(t, (const char *)run, (size_t)(p - run));
	put(t, "\"", 1);
}

static void put_tensor(struct text *t, const struct wload_tensor *tensor)
{
	uint32_t i;

	put(t, ",", 1);
	put_string(t, tensor->name);
	putf(t, ":{\"dtype\":\"%s\",\"shape\":[", wload_dtype_describe(tensor->dtype)->name);
	for (i = 0; i < tensor->rank; i++)
		putf(t, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
	putf(t, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", tensor->offset,
	     tensor->offset + tensor->bytes);
}

static void store_length(uint8_t prefix[SAFETENSORS_PREFIX_BYTES], uint64_t len)
{
	int i;

	for (i = 0; i < SAFETENSORS_PREFIX_BYTES; i++, len >>= 8)
		prefix[i] = (uint8_t)len;
}

int safetensors_write_header(const struct wload_tensor *tensors, size_t count, uint8_t **ret_bytes,
			     size_t *ret_len, struct wload_error *err)
{
	char *bytes CLEANUP_FREE = NULL;
	struct text t = {0};
	size_t i;

	put(&t, "\0\0\0\0\0\0\0\0", SAFETENSORS_PREFIX_BYTES);
	putf(&t, "{\"__metadata__\":{\"format\":\"pt\"}");
	for (i = 0; i < count; i++)
		put_tensor(&t, &tensors[i]);
	put(&t, "}", 1);
	while (t.len % 8 != 0 && !t.short_of_memory)
		put(&t, " ", 1);
	bytes = t.bytes;
	if (t.short_of_memory)
		return wload_fail(err, ENOMEM, "out of memory for a header of %zu tensors", count);
	for (i = 0; i < count; i++)
		if (strcmp(tensors[i].name, "__metadata__") == 0)
			return wload_fail(err, EINVAL, "a tensor can't be named '__metadata__'");
	if (t.len - SAFETENSORS_PREFIX_BYTES > SAFETENSORS_HEADER_MAX)
		return wload_fail(err, E2BIG, "a header of %zu bytes is over the limit of %" PRIu64,
				  t.len, SAFETENSORS_HEADER_MAX);
	store_length((uint8_t *)bytes, t.len - SAFETENSORS_PREFIX_BYTES);
	*ret_bytes = (uint8_t *)TAKE_PTR(bytes);
	*ret_len = t.len;
	return 0;
}
