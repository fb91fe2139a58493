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
	return tap_done(&tap);
}
