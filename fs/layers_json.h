/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_LAYERS_JSON_H
#define WLOADFS_LAYERS_JSON_H

/* .wload/layers.json: how much of each layer is consumed, and how much of it the page cache has. */

#include "fs/fs.h"

/* Makes the text, for the root or for a rank, which differ in what is consumed. Returns it, for
 * free(), or NULL when memory is short. */
char *layers_json(struct wloadfs *fs, uint32_t who, size_t *ret_len);

#endif
