/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_METER_H
#define WLOAD_CLI_METER_H

/* Progress on stderr: a bar that redraws itself on a terminal, a line every few seconds elsewhere.
 */

#include <stdbool.h>

#include "loader/cli/progress.h"

enum meter_mode { METER_OFF, METER_BAR, METER_LINES };

struct meter {
	enum meter_mode mode;
	double next_seconds; /* of the load, when to show it next */
	struct progress_rate rate;
	struct wload_progress last;
	bool any; /* last is filled */
};

/* Chooses the mode by what stderr is. */
void meter_start(struct meter *meter, bool quiet);

void meter_show(struct meter *meter, const struct wload_progress *now);

/* Clears the bar; without one, shows where it ended. To be called before anything else is printed.
 */
void meter_end(struct meter *meter);

#endif
