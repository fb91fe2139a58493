/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_XATTR_H
#define WLOADFS_XATTR_H

/* The extended attributes of tensor files, user.wload.*: what the file's name and size do not say.
 */

#include <stddef.h>

#include "fs/fs.h"

struct text;

/* The names, each with its NUL, as listxattr() gives them. Returns their length. */
size_t xattr_list(const char **ret_names);

/* Appends an attribute's value for a tensor.
 *
 * Returns 0, -ENODATA for any other name of a user's, or -EOPNOTSUPP for one of the system's: ls -l
 * asks every file for a security label and an ACL, until it hears that the filesystem has neither.
 */
int xattr_value(const struct wloadfs *fs, uint32_t tensor, const char *name, struct text *text);

/* Appends a name in the checkpoint's own spelling (a NUL is a NUL), and a shape. */
void xattr_add_name(const char *name, struct text *text);
void xattr_add_shape(const uint64_t *shape, uint32_t rank, struct text *text);

/* What is said for a name on a file that has no attributes: -ENODATA or -EOPNOTSUPP, as above. */
int xattr_none(const char *name);

#endif
