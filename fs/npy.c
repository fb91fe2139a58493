/* SPDX-License-Identifier: Apache-2.0 */
/* Makes .npy headers. NumPy has no BF16 and no 8-bit floats: the array is then of the unsigned
 * integer of their width, and the true type is in the file's attribute user.wload.dtype. */

#include <string.h>

#include "fs/npy.h"
#include "loader/base/cleanup.h"
#include "loader/base/text.h"

#define NPY_MAGIC     "\x93NUMPY"
#define NPY_MAGIC_LEN 6
#define NPY_ALIGN     64

bool npy_possible(enum wload_dtype dtype)
{
	return wload_dtype_describe(dtype)->numpy != NULL;
}

static void add_dict(struct text *text, const struct wload_tensor *tensor)
{
	text_printf(text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
		    wload_dtype_describe(tensor->dtype)->numpy);
	for (uint32_t i = 0; i < tensor->rank; i++)
		text_printf(text, "%s%llu", i ? ", " : "", (unsigned long long)tensor->shape[i]);
	text_printf(text, "%s), }", tensor->rank == 1 ? "," : "");
}

char *npy_header(const struct wload_tensor *tensor, size_t *ret_len)
{
	struct text dict CLEANUP(text_free) = {0}, header CLEANUP(text_free) = {0};
	size_t prefix, dict_len, total;

	add_dict(&dict, tensor);
	prefix = NPY_MAGIC_LEN + 2 + 2;
	total = (prefix + dict.len + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN;
	if (total - prefix > UINT16_MAX) {
		prefix += 2;
		total = (prefix + dict.len + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN;
	}
	dict_len = total - prefix;

	text_add(&header, NPY_MAGIC, NPY_MAGIC_LEN);
	text_add(&header, prefix > NPY_MAGIC_LEN + 4 ? "\x02\x00" : "\x01\x00", 2);
	for (size_t i = 0; i < prefix - NPY_MAGIC_LEN - 2; i++)
		text_add(&header, &(char){(char)(dict_len >> 8 * i)}, 1);
	text_add(&header, dict.s ? dict.s : "", dict.len);
	text_printf(&header, "%*s\n", (int)(dict_len - dict.len - 1), "");
	if (dict.failed || header.failed)
		return NULL;
	*ret_len = header.len;
	return TAKE_PTR(header.s);
}

static size_t digits(uint64_t n)
{
	size_t count = 1;

	for (; n > 9; n /= 10)
		count++;
	return count;
}

size_t npy_header_len(const struct wload_tensor *tensor)
{
	const char *descr = wload_dtype_describe(tensor->dtype)->numpy;
	size_t dict =
		strlen("{'descr': '', 'fortran_order': False, 'shape': (), }") + strlen(descr);
	size_t total;

	for (uint32_t i = 0; i < tensor->rank; i++)
		dict += digits(tensor->shape[i]) + (i ? 2 : 0);
	dict += tensor->rank == 1;
	total = (NPY_MAGIC_LEN + 4 + dict + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN;
	if (total - NPY_MAGIC_LEN - 4 > UINT16_MAX)
		total = (NPY_MAGIC_LEN + 6 + dict + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN;
	return total;
}
