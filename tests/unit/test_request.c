/* SPDX-License-Identifier: Apache-2.0 */
/* loader/mount/request: the text that consumes, and the text that answers. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/mount/request.h"
#include "tap.h"

static const struct {
	const char *name, *prefix, *want;
} prefixes[] = {
	{"plain", "model.layers.0", "model.layers.0"},
	{"UTF-8 stays", "modèle.0", "modèle.0"},
	{"slash and percent", "a/b%c", "a%2Fb%25c"},
	{"newline cannot end the line", "a\nall", "a%0Aall"},
	{"blanks stay", " a b ", " a b "},
	{"DEL", "a\x7f", "a%7F"},
	{"NUL, held as C0 80", "a\xc0\x80z", "a%00z"},
	{"a dot alone", ".", "%2E"},
	{"two dots alone", "..", "%2E%2E"},
	{"three dots are a name", "...", "..."},
};

static const struct {
	const char *name, *answer;
	uint64_t lines;
	bool want;
	uint64_t count;
} answers[] = {
	{"one", "12\n", 1, true, 112},
	{"several", "1\n0\n5\n", 3, true, 106},
	{"nothing was asked", "", 0, true, 100},
	{"too few lines", "1\n", 2, false, 100},
	{"too many lines", "1\n2\n", 1, false, 100},
	{"no newline at the end", "1", 1, false, 100},
	{"a negative number", "-1\n", 1, false, 100},
	{"a blank in front", " 1\n", 1, false, 100},
	{"no number", "ok\n", 1, false, 100},
	{"a sum over 64 bits", "18446744073709551615\n", 1, false, 100},
	{"a number over 64 bits", "18446744073709551616\n", 1, false, 100},
};

static void check_bound(struct tap *tap)
{
	struct request request CLEANUP(request_free) = {0};
	char name[REQUEST_MAX + 1];
	uint64_t lines = 0;

	memset(name, 'x', 251);
	name[251] = '\0';
	while (request_add(&request, "key", name)) /* 256 bytes a line */
		lines++;
	ok(tap,
	   lines == REQUEST_MAX / 256 && request.lines == lines && request.text.len == REQUEST_MAX,
	   "add: lines up to the bound, and not one more");
	request_clear(&request);
	memset(name, 'x', REQUEST_MAX);
	name[REQUEST_MAX] = '\0';
	ok(tap, !request_add(&request, "prefix", name) && request.text.len == 0,
	   "add: a line that never fits");
	ok(tap,
	   request_add(&request, "all", NULL) && request_add(&request, "restore", "a b") &&
		   request.text.len == 16 && !memcmp(request.text.s, "all\nrestore a b\n", 16),
	   "add: with and without an argument");
}

int main(void)
{
	bool changed[4] = {true, false, true, true};
	struct tap tap = {0};
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct text got CLEANUP(text_free) = {0};

		request_spell_prefix(prefixes[i].prefix, &got);
		ok(&tap, !strcmp(got.s, prefixes[i].want), "prefix: %s", prefixes[i].name);
	}
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		uint64_t count = 100;
		bool right =
			request_count_answer(answers[i].answer, answers[i].lines, NULL, &count);

		ok(&tap, right == answers[i].want && count == answers[i].count, "answer: %s",
		   answers[i].name);
	}
	check_bound(&tap);
	ok(&tap,
	   request_count_answer("0\n3\n0\n", 3, changed, &sum) && !changed[0] && changed[1] &&
		   !changed[2] && changed[3],
	   "answer: says which lines changed something");
	return tap_done(&tap);
}
