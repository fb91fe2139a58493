/* SPDX-License-Identifier: Apache-2.0 */
/* loader/cli/layers and numbers: a mount's texts, whichever members they have. */

#include <errno.h>
#include <string.h>

#include "loader/cli/layers.h"
#include "loader/cli/numbers.h"
#include "tap.h"

#define LAYER(name, bytes, consumed, resident)                                                \
	"{\"name\": \"" name "\", \"tensors\": 9, \"consumed_tensors\": 2, \"bytes\": " bytes \
	", \"consumed_bytes\": " consumed ", \"resident_bytes\": " resident "}"

static const struct {
	const char *name, *text;
	int want;
	size_t count;
	uint64_t resident; /* of the last */
} files[] = {
	{"two", "{\"layers\": [" LAYER("a.0", "10", "2", "8") ", " LAYER("a.1", "1", "0", "0") "]}",
	 0, 2, 0},
	{"nobody may ask", "{\"layers\": [" LAYER("a", "10", "2", "null") "]}", 0, 1, UINT64_MAX},
	{"none", "{\"layers\": []}", 0, 0, 0},
	{"members that are not known",
	 "{\"v\": {\"x\": []}, \"layers\": [{\"name\": \"a\", \"z\": 1}]}", 0, 1, UINT64_MAX},
	{"no layers", "{\"layer\": []}", -EBADMSG, 0, 0},
	{"twice", "{\"layers\": [], \"layers\": []}", -EBADMSG, 0, 0},
	{"more consumed than there is", "{\"layers\": [" LAYER("a", "1", "2", "0") "]}", -EBADMSG,
	 1, 0},
	{"without a name", "{\"layers\": [{\"bytes\": 1}]}", -EBADMSG, 1, UINT64_MAX},
	{"no object", "[]", -EBADMSG, 0, 0},
	{"cut short", "{\"layers\": [{\"name\": \"a\"", -EBADMSG, 1, UINT64_MAX},
};

static const char stats[] =
	"{\"version\": \"0.1.0\", \"pid\": 7, \"tensors\": 30, \"bytes\": 6455808,"
	" \"consumed_tensors\": 12, \"consumed_bytes\": 1000, \"ranks\": 2, \"rank\": null,"
	" \"claims\": [{\"rank\": 0, \"tensors\": 30, \"bytes\": 1}, {\"rank\": 1, \"tensors\": "
	"18}],"
	" \"resident_bytes\": null, \"budget\": {\"limit_bytes\": 2000000, \"over\": {\"deep\": "
	"1}},"
	" \"mode\": \"served\", \"on\": true, \"list\": [1, [2], {\"a\": 3}], \"share\": 0.5}";

static const struct {
	const char *label, *value;
} cells[] = {
	{"tensors", "30"},	     {"bytes", "6.46 MB"}, {"consumed tensors", "12"},
	{"consumed", "1.00 kB"},     {"ranks", "2"},	   {"resident", "-"},
	{"budget limit", "2.00 MB"},
};

static const struct {
	const char *name, *text;
} bad_stats[] = {
	{"broken", "{\"tensors\": "},
	{"no object", "3"},
	{"a count that is none", "{\"tensors\": \"30\"}"},
	{"claims that are none", "{\"claims\": [3]}"},
};

static void check_numbers(struct tap *tap)
{
	struct wload_error err = {0};
	struct numbers n;
	bool pass = numbers_parse(stats, &n, &err) == 0;
	size_t want = sizeof(cells) / sizeof(cells[0]);

	ok(tap, pass && n.count == want, "numbers: %zu of %zu cells %s", n.count, want, err.text);
	for (size_t i = 0; pass && i < want && i < n.count; i++)
		ok(tap,
		   !strcmp(n.cells[i].label, cells[i].label) &&
			   !strcmp(n.cells[i].value, cells[i].value),
		   "numbers: '%s' is '%s'", n.cells[i].label, n.cells[i].value);
	ok(tap,
	   n.sum.tensors == 30 && n.sum.consumed_tensors == 12 && n.sum.bytes == 6455808 &&
		   n.sum.consumed_bytes == 1000 && n.sum.resident_bytes == UINT64_MAX &&
		   n.sum.rank == UINT64_MAX && n.sum.ranks == 2,
	   "numbers: the sum");
	ok(tap, n.claims.s && !strcmp(n.claims.s, "30 18"), "numbers: claims by rank");
	numbers_free(&n);
	for (size_t i = 0; i < sizeof(bad_stats) / sizeof(bad_stats[0]); i++) {
		ok(tap, numbers_parse(bad_stats[i].text, &n, &err) == -EBADMSG && err.text[0],
		   "numbers: %s: %s", bad_stats[i].name, err.text);
		numbers_free(&n);
	}
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct wload_error err = {0};
		struct layers got;
		int r = layers_parse(files[i].text, strlen(files[i].text), &got, &err);

		ok(&tap,
		   r == files[i].want && got.count == files[i].count && (r == 0) == !err.text[0] &&
			   (r < 0 || !got.count ||
			    got.rows[got.count - 1].resident_bytes == files[i].resident),
		   "layers: %s %s", files[i].name, err.text);
		layers_free(&got);
	}
	check_numbers(&tap);
	return tap_done(&tap);
}
