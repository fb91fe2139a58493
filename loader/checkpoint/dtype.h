/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_DTYPE_H
#define WLOAD_CHECKPOINT_DTYPE_H

#include "wloadfs/tensor.h"

/* wload_dtype_parse() for a name of len bytes, not NUL-terminated. */
int dtype_parse(const char *name, size_t len, enum wload_dtype *ret_dtype);

#endif
