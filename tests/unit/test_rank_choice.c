/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/rank_choice: which rank a load of a path is. */

#include <errno.h>
#include <string.h>

#include "loader/pipeline/rank_choice.h"
#include "tap.h"

#define OF_PATH WLOAD_RANK_OF_PATH

static const struct {
	const char *name;
	bool of_rank;
	uint32_t path_rank, ranks, tp, rank;
	int want;
	uint32_t want_rank;
	const char *words;
} rows[] = {
	{"no mount's rank, none asked for", false, 0, 0, 4, OF_PATH, 0, 0, ""},
	{"no mount's rank, one asked for", false, 0, 0, 4, 3, 0, 3, ""},
	{"a rank's folder says which", true, 3, 8, 8, OF_PATH, 0, 3, ""},
	{"the same, and said", true, 3, 8, 8, 3, 0, 3, ""},
	{"without tp everything", true, 3, 8, 0, OF_PATH, 0, 0, ""},
	{"tp 1 is everything", true, 3, 8, 1, OF_PATH, 0, 0, ""},
	{"another rank", true, 3, 8, 8, 0, -EINVAL, 77,
	 "rank 0: '/m/ranks/3' is the folder of rank 3"},
	{"fewer ranks", true, 3, 8, 4, 3, -EINVAL, 77,
	 "tp 4: '/m/ranks/3' is the folder of one of 8 ranks"},
	{"more ranks", true, 3, 8, 16, OF_PATH, -EINVAL, 77,
	 "tp 16: '/m/ranks/3' is the folder of one of 8 ranks"},
	{"a mount of one rank", true, 0, 1, 1, OF_PATH, 0, 0, ""},
	{"a rank that is none without tp is the plan's to refuse", true, 3, 8, 0, 3, 0, 3, ""},
};

/* What was asked for of a folder that is a checkpoint of rank 1 of 4, ep 2, in vLLM's layout. */
static const struct {
	const char *name;
	struct wload_plan_options asked;
	int want;
	uint32_t tp, ep;
	enum wload_layout layout;
	const char *words;
} slices[] = {
	{"nothing: the mount's", {0}, 0, 4, 2, WLOAD_LAYOUT_VLLM, ""},
	{"the same", {.ep = 2, .layout = WLOAD_LAYOUT_VLLM}, 0, 4, 2, WLOAD_LAYOUT_VLLM, ""},
	{"with tp all is as asked for", {.tp = 4}, 0, 4, 0, WLOAD_LAYOUT_TRTLLM, ""},
	{"tp 1 is everything", {.tp = 1}, 0, 1, 0, WLOAD_LAYOUT_TRTLLM, ""},
	{"another ep",
	 {.ep = 4},
	 -EINVAL,
	 0,
	 4,
	 WLOAD_LAYOUT_TRTLLM,
	 "ep 4: '/m/ranks/1' is made with ep 2"},
};

static void check_slices(struct tap *tap)
{
	struct wload_mount_slice slice = {.tp = 4, .ep = 2, .rank = 1, .layout = WLOAD_LAYOUT_VLLM};
	struct wload_plan_options vllm = {.layout = WLOAD_LAYOUT_VLLM}, none = {0};
	struct wload_error err = {0};

	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
		struct wload_plan_options got = slices[i].asked;
		struct wload_error why = {0};
		int r = rank_take_slice("/m/ranks/1", &slice, &got, &why);

		ok(tap,
		   r == slices[i].want && got.tp == slices[i].tp && got.ep == slices[i].ep &&
			   got.layout == slices[i].layout && !strcmp(why.text, slices[i].words),
		   "slice: %s: %s", slices[i].name, why.text);
	}
	slice.layout = WLOAD_LAYOUT_TRTLLM;
	ok(tap,
	   rank_take_slice("/m/ranks/1", &slice, &vllm, &err) == -EINVAL &&
		   !strcmp(err.text, "layout vllm: '/m/ranks/1' is made with layout trtllm"),
	   "slice: another layout: %s", err.text);
	slice.layout = WLOAD_LAYOUT_COUNT;
	ok(tap, rank_take_slice("/m/ranks/1", &slice, &none, &err) == -EINVAL,
	   "slice: a layout that is not known: %s", err.text);
}

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct wload_error err = {0};
		uint32_t got = 77;
		int r = rank_choose("/m/ranks/3", rows[i].of_rank, rows[i].path_rank, rows[i].ranks,
				    rows[i].tp, rows[i].rank, &got, &err);

		ok(&tap,
		   r == rows[i].want && got == rows[i].want_rank &&
			   !strcmp(err.text, rows[i].words),
		   "%s: %u %s", rows[i].name, got, err.text);
	}
	check_slices(&tap);
	return tap_done(&tap);
}
