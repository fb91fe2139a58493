/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_SIZE_H
#define WLOAD_SIZE_H

/* Numbers as people write them. Binary suffixes, because buffers come in powers of two. */

#include <stdbool.h>
#include <stdint.h>

/* Reads "4096", "64K", "1M", "2G", "1T" (case does not matter; "KiB" and "KB" do not either).
 *
 * Returns false when it is anything else or over 64 bits. */
bool size_parse(const char *s, uint64_t *ret_bytes);

/* Reads a whole decimal number. Returns false when it is anything else or over 64 bits. */
bool number_parse(const char *s, uint64_t *ret_number);

/* Reads "2", "0.5", "1.125": at most three decimals. Returns false when it is anything else or over
 * 64 bits of milliseconds. */
bool seconds_parse(const char *s, uint64_t *ret_ms);

#endif
