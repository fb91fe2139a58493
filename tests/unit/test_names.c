/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "loader/checkpoint/names.h"
#include "tap.h"

static const struct {
	const char *rule, *name, *suffix, *file;
} spelled[] = {
	{"plain", "model.layers.0.weight", "", "model.layers.0.weight"},
	{"suffix", "a", ".npy", "a.npy"},
	{"slash", "a/b", "", "a%2Fb"},
	{"percent", "50%", "", "50%25"},
	{"control bytes", "\t\x1f\x7f", "", "%09%1F%7F"},
	{"NUL", "a\xc0\x80", "", "a%00"},
	{"UTF-8 stays", "\xc3\xa9\xf0\x9f\x98\x80", "", "\xc3\xa9\xf0\x9f\x98\x80"},
	{"space and tilde stay", "a b~", "", "a b~"},
	{"dot", ".", "", "%2E"},
	{"dotdot", "..", "", "%2E%2E"},
	{"three dots", "...", "", "..."},
	{"hidden", ".a", "", ".a"},
	{"empty", "", "", "%"},
	{"empty with suffix", "", ".npy", "%.npy"},
	{"dot with suffix", ".", ".npy", "%2E.npy"},
	{"percent before tilde", "%~", "", "%25~"},
};

static const char *const refused[] = {".",	 "..",	 "a%2fb",  "a%41",	"%2", "%zz",
				      "%2E%2Ea", "a%2E", "a/b",	   "a%",	"%%", "\x01",
				      "\x7f",	 "",	 "%C3%A9", "a\xc0\x80", "%~"};

static bool round_trip(const char *name, const char *file)
{
	char back[512];
	size_t len = 0;

	return name_from_file(file, strlen(file), back, sizeof(back), &len) == 0 &&
	       len == strlen(name) && strcmp(back, name) == 0;
}

static void test_tables(struct tap *tap)
{
	char got[NAME_FILE_MAX + 1], back[512];
	size_t i, len;
	int r;

	for (i = 0; i < sizeof(spelled) / sizeof(spelled[0]); i++) {
		r = name_to_file(spelled[i].name, strlen(spelled[i].name), spelled[i].suffix, got);
		ok(tap, strcmp(got, spelled[i].file) == 0 && r == (int)strlen(got), "%s",
		   spelled[i].rule);
		if (spelled[i].suffix[0] == '\0')
			ok(tap, round_trip(spelled[i].name, got), "%s, read back", spelled[i].rule);
	}
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		ok(tap,
		   name_from_file(refused[i], strlen(refused[i]), back, sizeof(back), &len) ==
			   -ENOENT,
		   "no name is spelled so (%zu)", i);
	ok(tap, name_from_file("abc", 3, back, 3, &len) == -ENOENT, "no room for the name");
}

static void test_long(struct tap *tap)
{
	char name[600], file[NAME_FILE_MAX + 1], other[NAME_FILE_MAX + 1], back[512];
	size_t len;

	memset(name, 'a', sizeof(name));
	ok(tap, name_to_file(name, 255, "", file) == 255 && !name_is_shortened(file, 255),
	   "255 bytes are spelled out");
	ok(tap, name_from_file(file, 255, back, sizeof(back), &len) == 0 && len == 255,
	   "and read back");
	ok(tap, name_to_file(name, 256, "", file) == 255 && name_is_shortened(file, 255),
	   "256 are shortened to 255");
	ok(tap, memcmp(file + 237, "%~", 2) == 0, "the hash is the end");
	ok(tap, name_from_file(file, 255, back, sizeof(back), &len) == -ENOENT,
	   "a shortened name can't be read back");
	name_to_file(name, 257, "", other);
	ok(tap, strcmp(file, other) != 0, "another name, another hash");
	ok(tap,
	   name_to_file(name, 252, ".npy", file) == 255 && name_is_shortened(file, 251) &&
		   strcmp(file + 251, ".npy") == 0,
	   "the suffix counts and stays");
	memset(name, '/', 300);
	ok(tap, name_to_file(name, 300, "", file) == 79 * 3 + 18 && name_is_shortened(file, 255),
	   "237 bytes hold 79 escapes");
	name[0] = 'x';
	ok(tap, name_to_file(name, 300, "", file) == 1 + 78 * 3 + 18, "cut where an escape ends");
	for (len = 0; len < 300; len += 3)
		memcpy(name + len, "\xe2\x82\xac", 3);
	memmove(name + 1, name, 300);
	name[0] = 'x';
	ok(tap, name_to_file(name, 301, "", file) == 1 + 78 * 3 + 18, "cut where a sequence ends");
	ok(tap, !name_is_shortened("a%~0123456789ABCDEF", 19), "upper-case digits are no hash");
}

/* 5969bbc8de590f49 is the FNV-1a of 300 'm', computed elsewhere: spellings must not change. */
static void test_hash(struct tap *tap)
{
	char name[300], file[NAME_FILE_MAX + 1], again[NAME_FILE_MAX + 1];

	memset(name, 'm', sizeof(name));
	name_to_file(name, sizeof(name), "", file);
	name_to_file(name, sizeof(name), ".npy", again);
	ok(tap, memcmp(file + 237, again + 233, 18) == 0,
	   "the hash is the full name's, not the file's");
	ok(tap, strcmp(file + 239, "5969bbc8de590f49") == 0, "the hash is 64-bit FNV-1a");
}

int main(void)
{
	struct tap tap = {0};

	test_tables(&tap);
	test_long(&tap);
	test_hash(&tap);
	return tap_done(&tap);
}
