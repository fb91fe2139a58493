/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CHECKPOINT_NAMES_H
#define WLOAD_CHECKPOINT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAME_FILE_MAX 255 /* bytes of a file name, NAME_MAX of every common filesystem */

/* Spells a tensor's name, or one component of it, as a file name.
 *
 * name    modified UTF-8, len bytes
 * suffix  added as it is (".npy", or ""), at most 16 bytes; it counts towards NAME_FILE_MAX
 * ret     NUL-terminated
 *
 * Returns the length of ret. */
int name_to_file(const char *name, size_t len, const char *suffix, char ret[NAME_FILE_MAX + 1]);

/* Whether a file name (without its suffix) is a shortened one: its full name can only be found by
 * spelling the names there are. */
bool name_is_shortened(const char *file, size_t len);

/* Reads a file name (without its suffix) back.
 *
 * ret      the name, NUL-terminated; cap is its size
 * ret_len  its length, the NUL not counted
 *
 * Returns 0, or -ENOENT when no name is spelled so, or the name was shortened, or cap is too small.
 */
int name_from_file(const char *file, size_t len, char *ret, size_t cap, size_t *ret_len);

#endif
