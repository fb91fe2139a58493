/* SPDX-License-Identifier: Apache-2.0 */
/* Prints how the compiler lays out the structs of the C API, for those who must lay them out alike
 * without a compiler (loader/python/wload.py): "STRUCT FIELD OFFSET BYTES", and "STRUCT - 0 BYTES".
 */

#include <stddef.h>
#include <stdio.h>

#include "wloadfs/dlpack.h"
#include "wloadfs/loader.h"

#define STRUCT(type) printf("%s - 0 %zu\n", #type, sizeof(type))
#define FIELD(type, field) \
	printf("%s %s %zu %zu\n", #type, #field, offsetof(type, field), sizeof(((type *)0)->field))

static void print_load(void)
{
	STRUCT(struct wload_error);
	FIELD(struct wload_error, code);
	FIELD(struct wload_error, text);
	STRUCT(struct wload_progress);
	FIELD(struct wload_progress, bytes_total);
	FIELD(struct wload_progress, bytes_read);
	FIELD(struct wload_progress, host_bytes);
	FIELD(struct wload_progress, consumed_bytes);
	FIELD(struct wload_progress, seconds);
	STRUCT(struct wload_load_options);
	FIELD(struct wload_load_options, device);
	FIELD(struct wload_load_options, keep);
	FIELD(struct wload_load_options, release);
	FIELD(struct wload_load_options, verify);
	FIELD(struct wload_load_options, verify_every);
	FIELD(struct wload_load_options, out_dir);
	FIELD(struct wload_load_options, rules);
	FIELD(struct wload_load_options, staging_bytes);
	FIELD(struct wload_load_options, threads);
	FIELD(struct wload_load_options, io);
	FIELD(struct wload_load_options, tp);
	FIELD(struct wload_load_options, rank);
	FIELD(struct wload_load_options, ep);
	FIELD(struct wload_load_options, layout);
	FIELD(struct wload_load_options, names);
	FIELD(struct wload_load_options, dequantise);
	FIELD(struct wload_load_options, swizzle);
	FIELD(struct wload_load_options, dtype);
	FIELD(struct wload_load_options, apart);
	FIELD(struct wload_load_options, module_done);
	FIELD(struct wload_load_options, module_ctx);
	FIELD(struct wload_load_options, progress);
	FIELD(struct wload_load_options, progress_ctx);
}

static void print_result(void)
{
	STRUCT(struct wload_module);
	FIELD(struct wload_module, name);
	FIELD(struct wload_module, params);
	FIELD(struct wload_module, count);
	STRUCT(struct wload_sample);
	FIELD(struct wload_sample, seconds);
	FIELD(struct wload_sample, host_bytes);
	FIELD(struct wload_sample, device_bytes);
	STRUCT(struct wload_report);
	FIELD(struct wload_report, device);
	FIELD(struct wload_report, family);
	FIELD(struct wload_report, note);
	FIELD(struct wload_report, mount);
	FIELD(struct wload_report, claims);
	FIELD(struct wload_report, tensors);
	FIELD(struct wload_report, parameters);
	FIELD(struct wload_report, bytes_read);
	FIELD(struct wload_report, bytes_direct);
	FIELD(struct wload_report, bytes_uploaded);
	FIELD(struct wload_report, bytes_verified);
	FIELD(struct wload_report, verify_every);
	FIELD(struct wload_report, seconds);
	FIELD(struct wload_report, bytes_per_second);
	FIELD(struct wload_report, peak_host_bytes);
	FIELD(struct wload_report, cgroup_peak_bytes);
	FIELD(struct wload_report, consumed_tensors);
	FIELD(struct wload_report, consumed_bytes);
	FIELD(struct wload_report, checkpoint_bytes);
	FIELD(struct wload_report, unused_tensors);
	FIELD(struct wload_report, tp);
	FIELD(struct wload_report, rank);
	FIELD(struct wload_report, ep);
	FIELD(struct wload_report, layout);
	STRUCT(struct wload_loaded);
	FIELD(struct wload_loaded, name);
	FIELD(struct wload_loaded, shape);
	FIELD(struct wload_loaded, rank);
	FIELD(struct wload_loaded, dtype);
	FIELD(struct wload_loaded, bytes);
	FIELD(struct wload_loaded, device_ptr);
	STRUCT(struct wload_dtype_desc);
	FIELD(struct wload_dtype_desc, name);
	FIELD(struct wload_dtype_desc, bits);
	FIELD(struct wload_dtype_desc, numpy);
	FIELD(struct wload_dtype_desc, dlpack);
}

static void print_dlpack(void)
{
	STRUCT(DLDevice);
	STRUCT(DLDataType);
	STRUCT(DLTensor);
	FIELD(DLTensor, data);
	FIELD(DLTensor, device);
	FIELD(DLTensor, ndim);
	FIELD(DLTensor, dtype);
	FIELD(DLTensor, shape);
	FIELD(DLTensor, strides);
	FIELD(DLTensor, byte_offset);
	STRUCT(DLManagedTensor);
	FIELD(DLManagedTensor, dl_tensor);
	FIELD(DLManagedTensor, manager_ctx);
	FIELD(DLManagedTensor, deleter);
}

int main(void)
{
	print_load();
	print_result();
	print_dlpack();
	return 0;
}
