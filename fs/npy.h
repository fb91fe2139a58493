/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_NPY_H
#define WLOADFS_NPY_H

/* The header of a NumPy .npy file, from
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html :
 *
 *   1. "\x93NUMPY", then the version: 1 0 (2 0 where the header is over 65,535 bytes)
 *   2. the length of what follows, little-endian, 2 bytes (4 in version 2.0)
 *   3. a Python dict in ASCII: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *   4. spaces and a newline, so that the array's bytes begin at a multiple of 64 */

#include <stddef.h>

#include "wloadfs/tensor.h"

/* Whether a data type has a .npy file: NumPy, or an unsigned integer, can hold it. */
bool npy_possible(enum wload_dtype dtype);

/* The header's length in bytes, without making it. */
size_t npy_header_len(const struct wload_tensor *tensor);

/* Makes the header.
 *
 * ret_len  npy_header_len(tensor)
 *
 * Returns it, for free(), or NULL when memory is short. */
char *npy_header(const struct wload_tensor *tensor, size_t *ret_len);

#endif
