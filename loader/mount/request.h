/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_MOUNT_REQUEST_H
#define WLOAD_MOUNT_REQUEST_H

/* What is written to .wload/consume and what is read back, as text (mount.h describes both). */

#include <stdbool.h>
#include <stdint.h>

#include "loader/base/text.h"

/* One write is one request, and the kernel splits larger writes where the daemon did not ask for
 * more (32 pages of 4 KiB is the protocol's default, FUSE_DEFAULT_MAX_PAGES_PER_REQ). */
#define REQUEST_MAX (128u << 10)

/* Whole lines, to be sent in one write. */
struct request {
	struct text text;
	uint64_t lines;
};

/* Adds the line "verb argument", or "verb" when argument is NULL.
 *
 * Returns false, with the request as it was, when it would be over REQUEST_MAX. */
bool request_add(struct request *request, const char *verb, const char *argument);

/* Forgets the lines, to gather anew. */
void request_clear(struct request *request);

void request_free(struct request *request);

/* Spells a module's name as names.h spells a tensor's, but never shortened: the daemon takes it
 * apart again. */
void request_spell_prefix(const char *prefix, struct text *ret);

/* Adds up the answer to a request of so many lines: a number for each, on a line of its own.
 *
 * ret_changed  a flag for each line: its number is not 0; or NULL
 *
 * Returns false when it is anything else; *count is added to only if it is right. */
bool request_count_answer(const char *answer, uint64_t lines, bool *ret_changed, uint64_t *count);

#endif
