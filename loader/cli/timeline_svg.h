/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_TIMELINE_SVG_H
#define WLOAD_CLI_TIMELINE_SVG_H

/* A picture of a load: host memory over time against bytes on the device, the checkpoint's size a
 * line. Where host memory is so small beside the checkpoint that its curve would lie on the axis, a
 * second panel shows it by itself. SVG 1.1 without scripts or outside fonts; its colours follow the
 * reader's light or dark ones. Pure. */

#include "loader/base/text.h"
#include "wloadfs/loader.h"

struct timeline_picture {
	const char *path; /* what was loaded, as the user named it */
	const struct wload_report *report;
	bool keeps;			    /* what arrives on the device stays there to the end */
	const struct wload_sample *samples; /* at least one */
	uint32_t count;
};

void timeline_svg(const struct timeline_picture *picture, struct text *text);

#endif
