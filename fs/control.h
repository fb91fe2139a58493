/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_CONTROL_H
#define WLOADFS_CONTROL_H

/* The files of .wload/, each open handle with what it holds. Those of a rank speak of its claims.
 */

#include "fs/fs.h"
#include "fs/node.h"

struct control_handle;

const char *control_name(enum control_file file);
mode_t control_mode(enum control_file file);

/* Is it read from where the last read ended, whatever the offset? */
bool control_is_stream(enum control_file file);

/* Does this tree of the mount have the file? */
bool control_is_there(const struct wloadfs *fs, struct node file);

/* The size that stat() shows. */
uint64_t control_size(const struct wloadfs *fs, struct node file);

/* Opens a file of .wload/. Returns 0, or -EROFS (writing to anything but consume), -ENOMEM. */
int control_open(struct wloadfs *fs, struct node file, int flags, struct control_handle **ret);
void control_release(struct wloadfs *fs, struct control_handle *handle);

/* Frees the handles that are still open when the session has ended. */
void control_release_all(struct wloadfs *fs);

/* Each of these answers the request, control_write() from the evictor. */
void control_read(struct wloadfs *fs, struct control_handle *handle, fuse_req_t req, size_t len,
		  uint64_t offset);
void control_write(struct wloadfs *fs, struct control_handle *handle, fuse_req_t req,
		   const char *buf, size_t len);

#endif
