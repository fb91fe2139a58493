/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_UNITS_H
#define WLOAD_CLI_UNITS_H

/* Numbers as people read them: decimal units, as disks and buses are sold (loader/base/size.h reads
 * what they write). Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/base/text.h"

#define UNITS_MAX 24 /* bytes that the longest result takes, NUL included */

/* "999 B", "1.50 kB", "15.4 GB", "123 TB": three digits. */
void units_bytes(uint64_t bytes, char ret[UNITS_MAX]);

/* "1.5 ms", "0.42 s", "12.3 s", "4:05", "1:02:03". */
void units_seconds(double seconds, char ret[UNITS_MAX]);

/* Appends a name (modified UTF-8) for people: control bytes, which could drive a terminal or end
 * the line, as \xNN. */
void units_name(struct text *text, const char *name);

#endif
