/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "loader/cli/timeline_svg.h"
#include "loader/base/cleanup.h"
#include "loader/cli/units.h"

#define WIDTH	     860
#define LEFT	     84 /* of the axes; room for "1,000 MB" before them */
#define RIGHT	     (WIDTH - 24)
#define PANEL_TOP    108
#define PANEL_HEIGHT 280
#define HOST_HEIGHT  150 /* of the second panel */
#define PANEL_GAP    78
#define BELOW	     44 /* of the last panel's axis: its marks */
#define HEADROOM     1.12
#define SMALL	     8.0 /* host memory below one in so many of the height gets its own panel */

static const char style[] =
	"text { font: 13px system-ui, sans-serif; fill: #1f2328; }\n"
	".title { font-size: 17px; font-weight: 600; } .small { font-size: 11px; fill: #59636e; }\n"
	".bg { fill: #ffffff; } .axis { stroke: #8a8f98; fill: none; }\n"
	".grid { stroke: #8a8f98; stroke-opacity: 0.25; }\n"
	".size { stroke: #8a8f98; stroke-width: 1.5; stroke-dasharray: 6 4; }\n"
	".host { stroke: #e4572e; } .device { stroke: #4c78a8; }\n"
	".line { fill: none; stroke-width: 2; stroke-linejoin: round; }\n"
	".under { fill: #e4572e; fill-opacity: 0.18; stroke: none; }\n"
	"@media (prefers-color-scheme: dark) {\n"
	"  text { fill: #e6edf3; } .small { fill: #9198a1; } .bg { fill: #0d1117; }\n"
	"  .device { stroke: #79a8d9; }\n"
	"}\n";

/* One pair of axes: what lies where. */
struct panel {
	double top, height;
	double x_most, y_most; /* seconds, bytes */
};

static double x_of(const struct panel *panel, double seconds)
{
	return LEFT + (RIGHT - LEFT) * seconds / panel->x_most;
}

static double y_of(const struct panel *panel, double bytes)
{
	return panel->top + panel->height - panel->height * bytes / panel->y_most;
}

static double most(double a, double b)
{
	return a > b ? a : b;
}

static void add_words(struct text *text, double x, double y, const char *anchor, const char *kind,
		      const char *words)
{
	text_printf(text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y,
		    anchor, kind);
	text_xml_string(text, words);
	text_printf(text, "</text>\n");
}

/* ---- axes ------------------------------------------------------------------------------------*/

/* The distance of round marks, of which an axis gets at most seven: 1, 2 or 5 times a power of 10.
 */
static double step_of(double range)
{
	static const double multiples[] = {1, 2, 5};
	double scale = 1e-6;

	for (; scale < 1e18; scale *= 10)
		for (int i = 0; i < 3; i++)
			if (range / (multiples[i] * scale) <= 6)
				return multiples[i] * scale;
	return range;
}

struct unit {
	const char *name;
	double scale;
};

/* The largest unit of which the axis shows at least one; the last where there is none. */
static const struct unit *unit_of(const struct unit *units, double range)
{
	while (units[1].name && range < units->scale)
		units++;
	return units;
}

static const struct unit byte_units[] = {{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6},
					 {"kB", 1e3},  {"B", 1},    {0}};
static const struct unit time_units[] = {{"h", 10800}, {"min", 300}, {"s", 1}, {"ms", 1e-3}, {0}};
static const double time_scales[] = {3600, 60, 1, 1e-3}; /* of one of them */

static void add_byte_marks(struct text *text, const struct panel *panel)
{
	const struct unit *unit = unit_of(byte_units, panel->y_most / HEADROOM);
	double step = step_of(panel->y_most / unit->scale) * unit->scale;
	char words[UNITS_MAX];

	for (int i = 0; i * step <= panel->y_most; i++) {
		double y = y_of(panel, i * step);

		(void)snprintf(words, sizeof(words), "%g %s", i * step / unit->scale, unit->name);
		text_printf(text, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
		add_words(text, LEFT - 6, y + 4, "end", "small", i ? words : "0");
	}
}

static void add_time_marks(struct text *text, const struct panel *panel)
{
	const struct unit *unit = unit_of(time_units, panel->x_most);
	double scale = time_scales[unit - time_units];
	double step = step_of(panel->x_most / scale) * scale, bottom = panel->top + panel->height;
	char words[UNITS_MAX];

	for (int i = 0; i * step <= panel->x_most; i++) {
		(void)snprintf(words, sizeof(words), "%g %s", i * step / scale, unit->name);
		add_words(text, x_of(panel, i * step), bottom + 16, "middle", "small",
			  i ? words : "0");
	}
	add_words(text, LEFT + (RIGHT - LEFT) / 2.0, bottom + 34, "middle", "small",
		  "time since the load began");
}

static void add_axes(struct text *text, const struct panel *panel)
{
	add_byte_marks(text, panel);
	add_time_marks(text, panel);
	text_printf(text, "<path class=\"axis\" d=\"M%d %.1fV%.1fH%d\"/>\n", LEFT, panel->top,
		    panel->top + panel->height, RIGHT);
}

/* ---- curves ----------------------------------------------------------------------------------*/

static void add_points(struct text *text, const struct timeline_picture *p,
		       const struct panel *panel, bool of_host)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct wload_sample *s = &p->samples[i];

		text_printf(text, "%s%.1f,%.1f", i ? " " : "", x_of(panel, s->seconds),
			    y_of(panel, (double)(of_host ? s->host_bytes : s->device_bytes)));
	}
}

static void add_curve(struct text *text, const struct timeline_picture *p,
		      const struct panel *panel, bool of_host)
{
	double bottom = panel->top + panel->height;

	if (of_host) {
		text_printf(text, "<polygon class=\"under\" points=\"%.1f,%.1f ",
			    x_of(panel, p->samples[0].seconds), bottom);
		add_points(text, p, panel, true);
		text_printf(text, " %.1f,%.1f\"/>\n", x_of(panel, p->samples[p->count - 1].seconds),
			    bottom);
	}
	text_printf(text, "<polyline class=\"line %s\" points=\"", of_host ? "host" : "device");
	add_points(text, p, panel, of_host);
	text_printf(text, "\"/>\n");
}

/* The checkpoint's size, named where the device's curve has not come up to it yet. */
static void add_size(struct text *text, const struct timeline_picture *p, const struct panel *panel)
{
	double y = y_of(panel, (double)p->report->checkpoint_bytes);
	char bytes[UNITS_MAX], words[64];

	units_bytes(p->report->checkpoint_bytes, bytes);
	(void)snprintf(words, sizeof(words), "the checkpoint, %s", bytes);
	text_printf(text, "<path class=\"size\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
	add_words(text, LEFT + 8, y - 6, "start", "small", words);
}

/* ---- words -----------------------------------------------------------------------------------*/

/* One entry of the legend. Returns where the next begins. */
static double add_key(struct text *text, double x, double y, const char *kind, const char *words)
{
	text_printf(text, "<path class=\"line %s\" d=\"M%.1f %.1fh22\"/>\n", kind, x, y - 4);
	add_words(text, x + 28, y, "start", "small", words);
	return x + 28 + 380;
}

static const char *device_words(const struct timeline_picture *p)
{
	return p->keeps ? "bytes on the device" : "bytes that reached the device";
}

static void add_legend(struct text *text, const struct timeline_picture *p)
{
	char peak[UNITS_MAX], arrived[UNITS_MAX], words[128];
	double x = LEFT;

	units_bytes(p->report->peak_host_bytes, peak);
	units_bytes(p->samples[p->count - 1].device_bytes, arrived);
	(void)snprintf(words, sizeof(words), "host memory: %s at the peak", peak);
	x = add_key(text, x, PANEL_TOP - 18, "host", words);
	(void)snprintf(words, sizeof(words), "%s: %s at the end", device_words(p), arrived);
	(void)add_key(text, x, PANEL_TOP - 18, "device", words);
}

/* "loading 'NAME' to DEVICE"; of a long name its end. */
static void add_title(struct text *text, const struct timeline_picture *p)
{
	struct text title CLEANUP(text_free) = {0};

	text_printf(&title, "Loading '");
	units_name(&title, p->path);
	text_printf(&title, "' to %s", p->report->device);
	if (title.failed) {
		text->failed = true;
		return;
	}
	text_printf(text, "<title>");
	text_xml_string(text, title.s);
	text_printf(text, "</title>\n<style>%s</style>\n", style);
	text_printf(text, "<rect class=\"bg\" width=\"100%%\" height=\"100%%\"/>\n");
	add_words(text, 16, 28, "start", "title", title.s);
}

static void add_summary(struct text *text, const struct timeline_picture *p)
{
	const struct wload_report *r = p->report;
	char bytes[UNITS_MAX], time[UNITS_MAX], rate[UNITS_MAX], words[128];

	units_bytes(r->bytes_read, bytes);
	units_seconds(r->seconds, time);
	units_bytes((uint64_t)r->bytes_per_second, rate);
	(void)snprintf(words, sizeof(words), "%s read in %s, %s/s%s", bytes, time, rate,
		       p->keeps ? "" : "; nothing stays on the device");
	add_words(text, 16, 50, "start", "small", words);
}

/* ---- the whole -------------------------------------------------------------------------------*/

/* All to one scale. */
static struct panel main_panel(const struct timeline_picture *p)
{
	const struct wload_sample *last = &p->samples[p->count - 1];
	double bytes = most((double)p->report->checkpoint_bytes,
			    most((double)p->report->peak_host_bytes, (double)last->device_bytes));

	return (struct panel){.top = PANEL_TOP,
			      .height = PANEL_HEIGHT,
			      .x_most = most(last->seconds, 1e-3),
			      .y_most = HEADROOM * most(bytes, 1)};
}

void timeline_svg(const struct timeline_picture *p, struct text *text)
{
	struct panel all = main_panel(p), host = all;
	bool apart = (double)p->report->peak_host_bytes * SMALL < all.y_most;
	int height = PANEL_TOP + PANEL_HEIGHT + BELOW + (apart ? PANEL_GAP + HOST_HEIGHT : 0);

	host.top = PANEL_TOP + PANEL_HEIGHT + PANEL_GAP;
	host.height = HOST_HEIGHT;
	host.y_most = HEADROOM * most((double)p->report->peak_host_bytes, 1);
	text_printf(text,
		    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		    "height=\"%d\" role=\"img\">\n",
		    WIDTH, height, WIDTH, height);
	add_title(text, p);
	add_summary(text, p);
	add_legend(text, p);
	add_axes(text, &all);
	add_size(text, p, &all);
	add_curve(text, p, &all, false);
	add_curve(text, p, &all, true);
	if (apart) {
		add_words(text, 16, host.top - 14, "start", "", "Host memory, to its own scale");
		add_axes(text, &host);
		add_curve(text, p, &host, true);
	}
	text_printf(text, "</svg>\n");
}
