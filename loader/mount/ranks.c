/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/json_member.h"
#include "loader/mount/ranks.h"

#define FOLDER "/ranks/"

bool ranks_path(const char *parent, const char *rest, uint32_t *ret_rank)
{
	char path[64], *end;
	const char *digits = path + strlen(FOLDER);
	int len = snprintf(path, sizeof(path), "%s%s", strcmp(parent, "/") ? parent : "", rest);
	unsigned long n;

	if (len < 0 || (size_t)len >= sizeof(path) || strncmp(path, FOLDER, strlen(FOLDER)) != 0)
		return false;
	/* as the mount writes it: no sign, no zero before it */
	if (!isdigit((unsigned char)*digits) || (*digits == '0' && digits[1]) || strlen(digits) > 9)
		return false;
	n = strtoul(digits, &end, 10);
	if (*end)
		return false;
	*ret_rank = (uint32_t)n;
	return true;
}

int ranks_parse(const char *text, size_t len, struct ranks *ret_ranks, struct wload_error *err)
{
	uint64_t rank = UINT64_MAX, ranks = 0, tp = 0, ep = 0;
	struct ranks told = {0};
	const struct json_member members[] = {
		{"rank", NULL, &rank}, {"ranks", NULL, &ranks},	       {"tp", NULL, &tp},
		{"ep", NULL, &ep},     {"layout", &told.layout, NULL}, {"rules", &told.rules, NULL},
	};
	struct json_reader r;
	int code;

	json_start(&r, (const uint8_t *)text, len);
	code = json_take_object(&r, members, sizeof(members) / sizeof(members[0]));
	if (code < 0)
		code = json_take_failed(&r, code, "the mount's stats.json", err);
	json_finish(&r);
	told.of_rank = rank < ranks && ranks <= UINT32_MAX;
	told.rank = rank < ranks ? (uint32_t)rank : 0;
	told.ranks = ranks <= UINT32_MAX ? (uint32_t)ranks : 0;
	told.tp = tp <= UINT32_MAX ? (uint32_t)tp : 0;
	told.ep = ep <= UINT32_MAX ? (uint32_t)ep : 0;
	if (code == 0)
		*ret_ranks = told;
	else
		ranks_free(&told);
	return code;
}

void ranks_free(struct ranks *ranks)
{
	free(ranks->layout);
	free(ranks->rules);
	*ranks = (struct ranks){0};
}
