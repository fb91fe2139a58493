/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_STATS_TEXT_H
#define WLOAD_CLI_STATS_TEXT_H

/* A JSON object as lines for people. Pure. */

#include "loader/base/text.h"
#include "wloadfs/error.h"

/* Appends a line "name: value" for each member, '_' as a blank, members of members indented; where
 * the name ends in "bytes", "1234567 (1.23 MB)".
 *
 * Returns 0, -EBADMSG when json is not one object, -ENOMEM. */
int stats_text(const char *json, struct text *text, struct wload_error *err);

#endif
