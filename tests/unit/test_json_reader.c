/* SPDX-License-Identifier: Apache-2.0 */
/* Each text is read to its end and written down as one letter a token, strings and whole numbers
 * with their value; or as the message of its failure. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/json_reader.h"
#include "tap.h"

static const struct {
	const char *rule, *text, *want;
} rows[] = {
	{"an object", "{\"a\":1,\"b\":[true,null]}", "{ n(a) u(1) n(b) [ b 0 ] } ."},
	{"empty containers", "[{},[]]", "[ { } [ ] ] ."},
	{"space is skipped", " \t\r\n1 \n", "u(1) ."},
	{"largest whole number", "18446744073709551615", "u(18446744073709551615) ."},
	{"one more is a number", "18446744073709551616", "d ."},
	{"minus zero is a number", "-0", "d ."},
	{"a fraction is a number", "1.0", "d ."},
	{"an exponent is a number", "1E+2", "d ."},
	{"the largest double", "1.7976931348623157e308", "d ."},
	{"zero has any exponent", "0e999999999999", "d ."},
	{"tiny is zero", "1e-999999999999", "d ."},
	{"escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "s(\"\\/\b\f\n\r\t) ."},
	{"NUL is C0 80", "\"a\\u0000b\"",
	 "s(a\xc0\x80"
	 "b) ."},
	{"two bytes of UTF-8", "\"\\u00e9\"", "s(\xc3\xa9) ."},
	{"three bytes of UTF-8", "\"\\u20AC\"", "s(\xe2\x82\xac) ."},
	{"a surrogate pair", "\"x\\ud83d\\ude00y\"", "s(x\xf0\x9f\x98\x80y) ."},
	{"raw UTF-8",
	 "\"0123456\xe2\x82\xac"
	 "789\"",
	 "s(0123456\xe2\x82\xac"
	 "789) ."},
	{"a name outlives its value", "{\"\\u0061\":\"\\u0062\"}", "{ n(a) s(b) } ."},

	{"nothing", "", "invalid JSON at byte 0: the text ends too soon"},
	{"trailing comma in an array", "[1,]", "invalid JSON at byte 2: trailing comma"},
	{"trailing comma in an object", "{\"a\":1, }", "invalid JSON at byte 6: trailing comma"},
	{"a second document", "{} {}", "invalid JSON at byte 3: text after the value"},
	{"missing comma", "[1 2]", "invalid JSON at byte 3: expected ',' or ']'"},
	{"wrong bracket", "[1}", "invalid JSON at byte 2: expected ',' or ']'"},
	{"missing colon", "{\"a\" 1}", "invalid JSON at byte 5: expected ':'"},
	{"single quotes", "{'a':1}",
	 "invalid JSON at byte 1: expected a member's name in double quotes"},
	{"NaN", "[NaN]", "invalid JSON at byte 1: expected a value"},
	{"a word cut", "nul", "invalid JSON at byte 0: unknown word"},
	{"leading zero", "01", "invalid JSON at byte 0: a number begins with 0"},
	{"lonely minus", "[-]", "invalid JSON at byte 2: a digit must follow the minus sign"},
	{"point without digit", "[1.]",
	 "invalid JSON at byte 3: a digit must follow the decimal point"},
	{"exponent without digit", "[1e+]",
	 "invalid JSON at byte 4: a digit must follow the exponent's sign"},
	{"over the largest double", "[1.8e308]", "invalid JSON at byte 1: number out of range"},
	{"raw newline", "\"a\nb\"", "invalid JSON at byte 2: control character in a string"},
	{"unknown escape", "\"\\x41\"", "invalid JSON at byte 2: unknown escape"},
	{"short \\u", "\"\\u12\"", "invalid JSON at byte 5: \\u needs four hexadecimal digits"},
	{"lone high surrogate", "\"\\ud800x\"", "invalid JSON at byte 1: lone surrogate"},
	{"lone low surrogate", "\"\\udc00\"", "invalid JSON at byte 1: lone surrogate"},
	{"two high surrogates", "\"\\ud800\\ud800\"", "invalid JSON at byte 1: lone surrogate"},
	{"overlong UTF-8", "\"\xc0\x80\"", "invalid JSON at byte 1: invalid UTF-8"},
	{"UTF-8 of a surrogate", "\"\xed\xa0\x80\"", "invalid JSON at byte 1: invalid UTF-8"},
	{"UTF-8 past the last", "\"\xf4\x90\x80\x80\"", "invalid JSON at byte 1: invalid UTF-8"},
	{"UTF-8 cut by the end", "\"\xe2\x82", "invalid JSON at byte 1: invalid UTF-8"},
	{"unclosed string", "\"abc", "invalid JSON at byte 4: the text ends too soon"},
};

static void transcribe(const char *text, size_t len, char *out, size_t cap)
{
	static const char letters[] = "?{}[]nsudb0.";
	uint8_t *exact = malloc(len ? len : 1); /* a sanitizer sees a byte read too far */
	struct json_reader r;
	struct wload_error err = {0};
	enum json_token token;
	size_t used = 0;

	memcpy(exact, text, len);
	json_start(&r, exact, len);
	while ((token = json_next(&r)) != JSON_BAD) {
		used += (size_t)snprintf(out + used, cap - used, "%s%c", used ? " " : "",
					 letters[token]);
		if (token == JSON_NAME || token == JSON_STRING)
			used += (size_t)snprintf(out + used, cap - used, "(%.*s)",
						 (int)r.string_len, r.string);
		if (token == JSON_UINT)
			used += (size_t)snprintf(out + used, cap - used, "(%" PRIu64 ")", r.uint);
		if (token == JSON_END)
			break;
	}
	if (token == JSON_BAD) {
		json_fail(&r, &err);
		snprintf(out, cap, "%s", err.text);
	}
	json_finish(&r);
	free(exact);
}

static bool nests(unsigned int depth)
{
	char text[512], out[2048];

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	transcribe(text, 2 * (size_t)depth, out, sizeof(out));
	return out[0] == '[';
}

static void test_skip(struct tap *tap)
{
	static const char text[] = "{\"a\":{\"b\":[1,{}]},\"c\":2}";
	struct json_reader r;

	json_start(&r, (const uint8_t *)text, sizeof(text) - 1);
	json_next(&r);
	json_next(&r);
	ok(tap,
	   json_skip(&r) == JSON_OBJECT && json_next(&r) == JSON_NAME && r.string[0] == 'c' &&
		   json_skip(&r) == JSON_UINT && json_next(&r) == JSON_OBJECT_END,
	   "skip passes one whole value");
	json_finish(&r);
}

int main(void)
{
	struct tap tap = {0};
	char got[2048];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		transcribe(rows[i].text, strlen(rows[i].text), got, sizeof(got));
		if (!ok(&tap, strcmp(got, rows[i].want) == 0, "%s", rows[i].rule))
			printf("# got %s\n", got);
	}
	ok(&tap, nests(127), "127 open brackets are accepted");
	ok(&tap, !nests(128), "128 open brackets are refused");
	test_skip(&tap);
	return tap_done(&tap);
}
