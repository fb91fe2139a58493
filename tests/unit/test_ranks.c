/* SPDX-License-Identifier: Apache-2.0 */
/* loader/mount/ranks: which paths are a rank's folder, and what stats.json says of ranks. */

#include <errno.h>
#include <string.h>

#include "loader/mount/ranks.h"
#include "tap.h"

static const struct {
	const char *name, *parent, *rest;
	int want; /* the rank, or -1 */
} paths[] = {
	{"the first", "/", "/ranks/0", 0},
	{"a later one", "/", "/ranks/17", 17},
	{"one that is mounted elsewhere", "/ranks/3", "", 3},
	{"below ranks, which is", "/ranks", "/3", 3},
	{"the root", "/", "", -1},
	{"ranks itself", "/", "/ranks", -1},
	{"nothing behind it", "/", "/ranks/", -1},
	{"a folder in one", "/", "/ranks/3/tensors", -1},
	{"in a folder of the checkpoint", "/", "/old/ranks/3", -1},
	{"no number", "/", "/ranks/x", -1},
	{"a number and more", "/", "/ranks/3x", -1},
	{"a sign", "/", "/ranks/-1", -1},
	{"a blank", "/", "/ranks/ 1", -1},
	{"a zero before it", "/", "/ranks/03", -1},
	{"more digits than there can be ranks", "/", "/ranks/4294967296", -1},
	{"a long path", "/", "/ranks/000000000000000000000000000000000000000000000000000000001",
	 -1},
};

static const struct {
	const char *name, *text;
	int want;
	bool of_rank;
	uint32_t rank, ranks;
} texts[] = {
	{"a rank's", "{\"pid\": 1, \"rank\": 3, \"ranks\": 8}", 0, true, 3, 8},
	{"the root's", "{\"rank\": null, \"ranks\": 8, \"claims\": [{\"rank\": 0}]}", 0, false, 0,
	 8},
	{"without ranks", "{\"rank\": null, \"ranks\": 0}", 0, false, 0, 0},
	{"of an older daemon", "{\"pid\": 1}", 0, false, 0, 0},
	{"a rank that there is not", "{\"rank\": 8, \"ranks\": 8}", 0, false, 0, 8},
	{"more than there can be", "{\"rank\": 1, \"ranks\": 4294967296}", 0, false, 1, 0},
	{"a name instead", "{\"rank\": \"3\", \"ranks\": 8}", -EBADMSG, false, 0, 0},
	{"no object", "[]", -EBADMSG, false, 0, 0},
	{"broken", "{\"rank\": ", -EBADMSG, false, 0, 0},
};

/* What ranks' checkpoints are made by. */
static void check_slice(struct tap *tap)
{
	static const char with[] = "{\"rank\": 1, \"ranks\": 4, \"tp\": 4, \"ep\": 2, "
				   "\"layout\": \"vllm\", \"rules\": \"/r.json\"}",
			  without[] = "{\"rank\": 1, \"ranks\": 4, \"tp\": null, "
				      "\"layout\": \"trtllm\", \"rules\": null}";
	struct ranks got = {0};

	ok(tap,
	   ranks_parse(with, sizeof(with) - 1, &got, NULL) == 0 && got.tp == 4 && got.ep == 2 &&
		   strcmp(got.layout, "vllm") == 0 && strcmp(got.rules, "/r.json") == 0,
	   "stats: of a mount with tp");
	ranks_free(&got);
	ok(tap,
	   ranks_parse(without, sizeof(without) - 1, &got, NULL) == 0 && got.tp == 0 &&
		   strcmp(got.layout, "trtllm") == 0 && !got.rules,
	   "stats: of one without");
	ranks_free(&got);
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		uint32_t rank = 77;
		bool got = ranks_path(paths[i].parent, paths[i].rest, &rank);

		ok(&tap, got ? (int)rank == paths[i].want : paths[i].want == -1 && rank == 77,
		   "path: %s", paths[i].name);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ranks got = {0};
		struct wload_error err = {0};
		int r = ranks_parse(texts[i].text, strlen(texts[i].text), &got, &err);

		ok(&tap,
		   r == texts[i].want && got.of_rank == texts[i].of_rank &&
			   got.rank == texts[i].rank && got.ranks == texts[i].ranks &&
			   (r == 0) == !err.text[0],
		   "stats: %s %s", texts[i].name, err.text);
		ranks_free(&got);
	}
	check_slice(&tap);
	return tap_done(&tap);
}
