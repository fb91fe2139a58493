/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_FUSED_XATTR_H
#define WLOADFS_FUSED_XATTR_H

/* The extended attributes of a parameter's file: those of a tensor's that it has (xattr.h), and
 * what it is made of. */

#include <stddef.h>

#include "fs/fs.h"
#include "fs/node.h"

struct text;

/* As xattr_list() and xattr_value(); the latter may also return what plans_get() says. */
size_t fused_xattr_list(const char **ret_names);
int fused_xattr_value(const struct wloadfs *fs, struct node file, const char *name,
		      struct text *text);

#endif
