/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_IO_H
#define WLOAD_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* pread() until len bytes came or the file ended.
 *
 * Returns how many came, or -errno. */
ssize_t io_read_at(int fd, void *buf, size_t len, uint64_t offset);

/* Reads a whole small file of /proc or /sys; NUL-terminated, cut at cap - 1 bytes.
 *
 * Returns its length, or -errno. */
ssize_t io_read_text(const char *path, char *buf, size_t cap);

#endif
