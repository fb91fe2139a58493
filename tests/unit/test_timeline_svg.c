/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/timeline_svg: what lies where, and that no name breaks the picture. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/cli/timeline_svg.h"
#include "tap.h"

#define GB UINT64_C(1000000000)
#define MB UINT64_C(1000000)

/* The axes of the first panel, as the picture is laid out. */
#define PICTURE_LEFT   84.0
#define PICTURE_RIGHT  836.0
#define PICTURE_TOP    108.0
#define PICTURE_BOTTOM 388.0

static const struct wload_sample half_way[] = {
	{0, 0, 0}, {1, 200 * MB, 5 * GB}, {2, 100 * MB, 10 * GB}};
static const struct wload_sample alone[] = {{0, 5 * MB, 0}};
static const struct wload_sample as_large[] = {{0, 0, 0}, {0.01, 6 * MB, 6 * MB}};
static const struct wload_sample long_one[] = {{0, 0, 0}, {7200, 200 * MB, 400 * GB}};

static const struct row {
	const char *name;
	const char *path;
	const struct wload_sample *samples;
	uint32_t count;
	uint64_t checkpoint_bytes, peak;
	bool keeps;
	const char *has[4], *lacks[2];
} rows[] = {
	{"host memory far below the checkpoint gets a panel of its own",
	 "/mnt",
	 half_way,
	 3,
	 10 * GB,
	 200 * MB,
	 true,
	 {"the checkpoint, 10.0 GB", "Host memory, to its own scale",
	  "host memory: 200 MB at the peak", "bytes on the device: 10.0 GB at the end"},
	 {"nothing stays"}},
	{"near it none",
	 "/mnt",
	 as_large,
	 2,
	 6 * MB,
	 6 * MB,
	 true,
	 {"the checkpoint, 6.00 MB", ">4 ms<"},
	 {"its own scale"}},
	{"what is not kept is not said to be there",
	 "/mnt",
	 half_way,
	 3,
	 10 * GB,
	 200 * MB,
	 false,
	 {"bytes that reached the device: 10.0 GB", "nothing stays on the device"},
	 {"bytes on the device"}},
	{"one sample", "/mnt", alone, 1, 0, 5 * MB, true, {"the checkpoint, 0 B"}, {"nan", "inf"}},
	{"hours",
	 "/mnt",
	 long_one,
	 2,
	 400 * GB,
	 200 * MB,
	 true,
	 {">60 min<", ">100 GB<"},
	 {" ms<"}},
	{"names are escaped",
	 "a<b>&\"c'\x1b[31m\xff",
	 half_way,
	 3,
	 10 * GB,
	 MB,
	 true,
	 {"a&#60;b&#62;&#38;&#34;c&#39;\\x1b[31m\xef\xbf\xbd"},
	 {"a<b", "\x1b"}},
};

static struct text draw(const struct row *row)
{
	struct wload_report report = {.device = "cuda:0 (NVIDIA <H100>)",
				      .bytes_read = row->samples[row->count - 1].device_bytes,
				      .seconds = row->samples[row->count - 1].seconds,
				      .peak_host_bytes = row->peak,
				      .checkpoint_bytes = row->checkpoint_bytes};
	struct timeline_picture picture = {.path = row->path,
					   .report = &report,
					   .keeps = row->keeps,
					   .samples = row->samples,
					   .count = row->count};
	struct text text = {0};

	timeline_svg(&picture, &text);
	return text;
}

/* Are elements closed in the order they were opened, and no '<' or '&' left over? */
static bool is_nested(const char *svg)
{
	const char *open[8];
	int depth = 0;

	for (const char *p = svg; (p = strchr(p, '<')); p++) {
		const char *end = strchr(p, '>');
		size_t len = strcspn(p + 1, " >");

		if (!end || memchr(p + 1, '<', (size_t)(end - p - 1)))
			return false;
		if (p[1] == '/') {
			if (depth-- == 0 || strncmp(open[depth], p + 2, len - 1) != 0)
				return false;
		} else if (end[-1] != '/') {
			if (depth == 8)
				return false;
			open[depth++] = p + 1;
		}
	}
	for (const char *p = svg; (p = strchr(p, '&')); p++)
		if (p[1] != '#' || strspn(p + 2, "0123456789") == 0)
			return false;
	return depth == 0;
}

/* The points of the first polyline of that class. */
static int points_of(const char *svg, const char *class, double at[][2], int most)
{
	char start[64];
	const char *p;
	int n = 0;

	(void)snprintf(start, sizeof(start), "<polyline class=\"line %s\" points=\"", class);
	p = strstr(svg, start);
	for (p = p ? p + strlen(start) : NULL; p && *p != '"' && n < most; n++) {
		char *end;

		at[n][0] = strtod(p, &end);
		at[n][1] = strtod(end + 1, &end);
		p = end + (*end == ' ');
	}
	return n;
}

static bool near(double a, double b)
{
	return fabs(a - b) < 0.11;
}

static void check_places(struct tap *tap)
{
	struct text svg CLEANUP(text_free) = draw(&rows[0]);
	double device[8][2], host[8][2], size = NAN;
	const char *line = strstr(svg.s, "<path class=\"size\" d=\"M84 ");

	if (line)
		size = strtod(line + strlen("<path class=\"size\" d=\"M84 "), NULL);
	ok(tap,
	   points_of(svg.s, "device", device, 8) == 3 && points_of(svg.s, "host", host, 8) == 3,
	   "place: a point a sample");
	ok(tap,
	   near(device[0][0], PICTURE_LEFT) && near(device[0][1], PICTURE_BOTTOM) &&
		   near(device[1][0], (PICTURE_LEFT + PICTURE_RIGHT) / 2) &&
		   near(device[2][0], PICTURE_RIGHT),
	   "place: time goes from the left axis to the right edge");
	ok(tap,
	   near(device[2][1], size) && near(device[1][1], (size + PICTURE_BOTTOM) / 2) &&
		   size > PICTURE_TOP + 18,
	   "place: the device ends at the checkpoint's line, under its words");
	ok(tap,
	   near(host[1][1], PICTURE_BOTTOM - (PICTURE_BOTTOM - size) / 50) &&
		   near(host[0][1], PICTURE_BOTTOM),
	   "place: host memory to the same scale");
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text svg CLEANUP(text_free) = draw(&rows[i]);
		bool pass = svg.s && !svg.failed;

		for (int k = 0; pass && k < 4 && rows[i].has[k]; k++)
			pass = ok(&tap, strstr(svg.s, rows[i].has[k]) != NULL, "%s: says '%s'",
				  rows[i].name, rows[i].has[k]);
		for (int k = 0; pass && k < 2 && rows[i].lacks[k]; k++)
			ok(&tap, !strstr(svg.s, rows[i].lacks[k]), "%s: without '%d'", rows[i].name,
			   k);
		ok(&tap, svg.s && is_nested(svg.s), "%s: well-formed", rows[i].name);
	}
	check_places(&tap);
	return tap_done(&tap);
}
