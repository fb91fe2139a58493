/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_WATCH_FRAME_H
#define WLOAD_CLI_WATCH_FRAME_H

/* What `wload stats --watch` shows at one moment: how much is consumed, the numbers, a bar for
 * every layer. Fitted to a terminal: what does not fit is left out, and a line says so. Pure. */

#include "loader/base/text.h"
#include "loader/cli/layers.h"
#include "loader/cli/numbers.h"

/* A cell of a bar, from the left on. */
#define FRAME_CONSUMED	'.'
#define FRAME_CACHED	'#' /* live, and in the page cache */
#define FRAME_LIVE	'=' /* live, and not (or not known to be) */

#define FRAME_UNBOUNDED 0

struct frame {
	const char *path; /* as the user named it */
	const char *time; /* of day; "" */
	const struct numbers *numbers;
	const struct layers *layers; /* NULL: the mount tells none */
	unsigned int columns;	     /* of the terminal */
	unsigned int lines;	     /* or FRAME_UNBOUNDED */
};

/* Appends lines, each shorter than the columns; one line less than there are, for the cursor. */
void watch_frame(const struct frame *frame, struct text *text);

/* Appends a bar of so many cells: whatever there is some of has a cell, where there are three. */
void watch_bar(uint64_t bytes, uint64_t consumed, uint64_t resident, unsigned int cells,
	       struct text *text);

#endif
