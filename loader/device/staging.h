/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_STAGING_H
#define WLOAD_STAGING_H

/* Anonymous host memory in huge pages, where the system gives them.
 *
 * populate  fault all of it in now: what a driver pins must be there
 *
 * Returns 0, or -ENOMEM. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wloadfs/error.h"

int staging_map(size_t bytes, bool populate, uint8_t **ret_base, struct wload_error *err);
void staging_unmap(uint8_t *base, size_t bytes);

#endif
