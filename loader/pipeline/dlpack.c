/* SPDX-License-Identifier: Apache-2.0 */
/* A parameter as a DLPack tensor: one block holds the exchange struct, its shape and its strides,
 * and a reference to the load. The consumer runs the deleter on whatever thread it likes. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "loader/pipeline/result.h"
#include "wloadfs/dlpack.h"

struct exported {
	struct DLManagedTensor tensor; /* first: the deleter gets its address */
	struct wload_load *load;
	int64_t dims[]; /* the shape, then the strides */
};

static void delete_exported(struct DLManagedTensor *tensor)
{
	struct exported *exported = (struct exported *)tensor;

	if (!exported)
		return;
	wload_load_unref(exported->load);
	free(exported);
}

/* The code of the true type, or of its bits where NumPy has no such type. */
static uint8_t type_code(const struct wload_dtype_desc *type, bool as_bits)
{
	bool numpy_has_it =
		type->dlpack <= kDLFloat || type->dlpack == kDLComplex || type->dlpack == kDLBool;

	return as_bits && !numpy_has_it ? kDLUInt : type->dlpack;
}

static void fill_dims(struct exported *exported, const struct wload_loaded *param)
{
	int64_t *shape = exported->dims, *strides = shape + param->rank;
	int64_t stride = 1;

	for (uint32_t i = param->rank; i-- > 0;) {
		shape[i] = (int64_t)param->shape[i];
		strides[i] = stride;
		stride *= shape[i] ? shape[i] : 1;
	}
	exported->tensor.dl_tensor.shape = shape;
	exported->tensor.dl_tensor.strides = strides;
	exported->tensor.dl_tensor.ndim = (int32_t)param->rank;
}

static DLDevice device_of(const struct wload_load *load)
{
	int ordinal;

	if (wload_load_device(load, &ordinal) == WLOAD_DEVICE_CUDA)
		return (DLDevice){kDLCUDA, ordinal};
	return (DLDevice){kDLCPU, 0};
}

int wload_load_dlpack(struct wload_load *load, uint32_t index, bool as_bits,
		      struct DLManagedTensor **ret_tensor, struct wload_error *err)
{
	const struct wload_loaded *param = wload_load_param(load, index);
	const struct wload_dtype_desc *type;
	struct exported *exported;

	if (!param)
		return wload_fail(err, ENOENT, "parameter %" PRIu32 " of %" PRIu32, index,
				  load->count);
	type = wload_dtype_describe(param->dtype);
	if (!type->numpy)
		return wload_fail(err, EOPNOTSUPP, "parameter '%s': DLPack has no packed %s",
				  param->name, type->name);
	if (!param->device_ptr)
		return wload_fail(err, ENOENT, "parameter '%s' was not kept in memory",
				  param->name);
	exported = calloc(1, sizeof(*exported) + 2 * (size_t)param->rank * sizeof(int64_t));
	if (!exported)
		return wload_fail(err, ENOMEM, "no memory to export '%s'", param->name);
	exported->load = wload_load_ref(load);
	exported->tensor = (struct DLManagedTensor){
		.dl_tensor = {.data = param->device_ptr,
			      .device = device_of(load),
			      .dtype = {type_code(type, as_bits), (uint8_t)type->bits, 1}},
		.deleter = delete_exported};
	fill_dims(exported, param);
	*ret_tensor = &exported->tensor;
	return 0;
}
