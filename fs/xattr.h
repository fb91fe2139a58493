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

/* What is said for a name on a file that has no attributes: -ENODATA or -EOPNOTSUPP, as above. */
int xattr_none(const char *name);

#endif
