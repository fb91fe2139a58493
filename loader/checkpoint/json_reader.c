/* SPDX-License-Identifier: Apache-2.0 */
/* A strict pull reader of JSON: json_next() hands out one token after another, straight from the
 * text, without a tree and without an allocation per value.
 *
 * Why not json-c, which the project links: json-c accepts duplicate keys, single quotes, NaN and
 * raw newlines, saturates numbers, cuts names at \u0000 and takes about 12 bytes of memory for each
 * byte of text. A checker in front of it would have to know as much as this reader does, and the
 * 17 MB index of a large checkpoint would cost 75 MiB while it is parsed. So the bytes that decide
 * where tensors lie (shard headers and the index) are read here; json-c stays for config.json, for
 * rules and for JSON that we write.
 *
 * It accepts what serde_json accepts, because the reference implementation of safetensors reads
 * headers with that: strict grammar (RFC 8259), at most 127 open brackets, UTF-8 validated, lone
 * surrogates and raw control characters refused, a number refused when it overflows a double
 * (serde_json 1.0, src/de.rs, f64_from_parts). A NUL in a string becomes C0 80, see tensor.h.
 *
 * Strings without an escape are slices of the text; others are decoded into one scratch buffer for
 * names and one for values. Plain bytes are skipped eight at a time. */

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/checked.h"
#include "loader/checkpoint/json_reader.h"

enum state {
	STATE_VALUE, /* a value must come: at the start, and after a member's name */
	STATE_FIRST, /* a container was opened */
	STATE_AFTER, /* a value has ended */
};

void json_start(struct json_reader *r, const uint8_t *text, size_t len)
{
	*r = (struct json_reader){.text = text, .len = len, .state = STATE_VALUE};
}

void json_finish(struct json_reader *r)
{
	free(r->names.bytes);
	free(r->strings.bytes);
	r->names.bytes = r->strings.bytes = NULL;
}

int json_fail(const struct json_reader *r, struct wload_error *err)
{
	if (r->code == ENOMEM)
		return wload_fail(err, ENOMEM, "out of memory for a string of JSON");
	return wload_fail(err, EBADMSG, "invalid JSON at byte %zu: %s", r->reason_at, r->reason);
}

static bool bad_at(struct json_reader *r, size_t at, const char *reason)
{
	r->code = EBADMSG;
	r->reason = reason;
	r->reason_at = at;
	return false;
}

static bool bad(struct json_reader *r, const char *reason)
{
	return bad_at(r, r->at, r->at < r->len ? reason : "the text ends too soon");
}

static enum json_token bad_token_at(struct json_reader *r, size_t at, const char *reason)
{
	bad_at(r, at, reason);
	return JSON_BAD;
}

static enum json_token bad_token(struct json_reader *r, const char *reason)
{
	bad(r, reason);
	return JSON_BAD;
}

/* The byte at the reader's place, or -1 at the end. */
static int peek(const struct json_reader *r)
{
	return r->at < r->len ? r->text[r->at] : -1;
}

static int peek_token(struct json_reader *r)
{
	while (r->at < r->len && (r->text[r->at] == ' ' || r->text[r->at] == '\n' ||
				  r->text[r->at] == '\r' || r->text[r->at] == '\t'))
		r->at++;
	return peek(r);
}

/* ---- strings -------------------------------------------------------------------------------- */

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Nonzero when one of eight bytes is zero: the classic (v - 1) & ~v & 0x80, which may also flag
 * bytes above a zero one, so it only says "look closer". */
static uint64_t any_zero(uint64_t v)
{
	return (v - EACH_BYTE(0x01)) & ~v & EACH_BYTE(0x80);
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void skip_plain(struct json_reader *r)
{
	uint64_t v, special;

	for (; r->len - r->at >= sizeof(v); r->at += sizeof(v)) {
		memcpy(&v, r->text + r->at, sizeof(v));
		special = any_zero(v ^ EACH_BYTE('"')) | any_zero(v ^ EACH_BYTE('\\')) |
			  ((v - EACH_BYTE(0x20)) & ~v & EACH_BYTE(0x80)) | (v & EACH_BYTE(0x80));
		if (special)
			break;
	}
	while (r->at < r->len && is_plain(r->text[r->at]))
		r->at++;
}

/* Length of the well-formed multi-byte sequence at p (Unicode 15, table 3-7), or 0. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
	size_t i, len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	uint8_t low = 0x80, high = 0xbf;

	if (p[0] < 0xc2 || p[0] > 0xf4 || left < len)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

static bool append(struct json_reader *r, struct json_scratch *out, const void *bytes, size_t len)
{
	if (len == 0)
		return true;
	if (!grow_array(&out->bytes, &out->cap, out->len + len, 1)) {
		r->code = ENOMEM;
		return false;
	}
	memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
	return true;
}

static bool append_code_point(struct json_reader *r, struct json_scratch *out, uint32_t c)
{
	uint8_t b[4];

	if (c == 0)
		return append(r, out, "\xc0\x80", 2);
	if (c < 0x80) {
		b[0] = (uint8_t)c;
		return append(r, out, b, 1);
	}
	b[3] = (uint8_t)(0x80 | (c & 0x3f));
	b[2] = (uint8_t)(0x80 | ((c >> 6) & 0x3f));
	b[1] = (uint8_t)(0x80 | ((c >> 12) & 0x3f));
	if (c < 0x800) {
		b[2] = (uint8_t)(0xc0 | (c >> 6));
		return append(r, out, b + 2, 2);
	}
	if (c < 0x10000) {
		b[1] = (uint8_t)(0xe0 | (c >> 12));
		return append(r, out, b + 1, 3);
	}
	b[0] = (uint8_t)(0xf0 | (c >> 18));
	return append(r, out, b, 4);
}

static bool read_hex4(struct json_reader *r, uint32_t *ret)
{
	uint32_t v = 0;
	unsigned int i;
	int c;

	for (i = 0; i < 4; i++, r->at++) {
		c = peek(r);
		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f' && c > 0)
			v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return bad_token(r, "\\u needs four hexadecimal digits");
	}
	*ret = v;
	return true;
}

static bool read_unicode_escape(struct json_reader *r, struct json_scratch *out)
{
	uint32_t high, low;
	size_t start = r->at - 2;

	if (!read_hex4(r, &high))
		return false;
	if (high >= 0xdc00 && high <= 0xdfff)
		return bad_at(r, start, "lone surrogate");
	if (high < 0xd800 || high > 0xdbff)
		return append_code_point(r, out, high);
	if (r->len - r->at < 2 || memcmp(r->text + r->at, "\\u", 2) != 0)
		return bad_at(r, start, "lone surrogate");
	r->at += 2;
	if (!read_hex4(r, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return bad_at(r, start, "lone surrogate");
	return append_code_point(r, out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
}

static bool read_escape(struct json_reader *r, struct json_scratch *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;
	int c;

	r->at++;
	c = peek(r);
	if (c == 'u') {
		r->at++;
		return read_unicode_escape(r, out);
	}
	found = c > 0 ? strchr(from, c) : NULL;
	if (!found)
		return bad(r, "unknown escape");
	r->at++;
	return append(r, out, &to[found - from], 1);
}

/* Reads a string whose opening quote is at the reader's place. */
static bool read_string(struct json_reader *r, struct json_scratch *out)
{
	size_t run = ++r->at, len;
	bool escaped = false;
	int c;

	out->len = 0;
	for (skip_plain(r); (c = peek(r)) != '"'; skip_plain(r)) {
		if (c == '\\') {
			escaped = true;
			if (!append(r, out, r->text + run, r->at - run) || !read_escape(r, out))
				return false;
			run = r->at;
			continue;
		}
		if (c < 0x80)
			return bad(r, "control character in a string");
		len = utf8_sequence(r->text + r->at, r->len - r->at);
		if (len == 0)
			return bad(r, "invalid UTF-8");
		r->at += len;
	}
	if (escaped && !append(r, out, r->text + run, r->at - run))
		return false;
	r->string = escaped ? out->bytes : (const char *)r->text + run;
	r->string_len = escaped ? out->len : r->at - run;
	r->at++;
	return true;
}

/* ---- numbers and words ---------------------------------------------------------------------- */

/* A number as serde_json holds it before it is rounded. */
struct number {
	uint64_t significand;
	int exponent; /* of ten, bounded by the length of the text */
	bool full;    /* the next digit did not fit */
};

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static void take_digit(struct number *n, uint64_t digit)
{
	uint64_t v;

	if (!n->full && checked_mul(n->significand, 10, &v) && checked_add(v, digit, &v))
		n->significand = v;
	else
		n->full = true;
}

static bool read_fraction(struct json_reader *r, struct number *n)
{
	r->at++;
	if (!is_digit(peek(r)))
		return bad(r, "a digit must follow the decimal point");
	n->full = false;
	for (; is_digit(peek(r)); r->at++) {
		take_digit(n, (uint64_t)(peek(r) - '0'));
		if (!n->full)
			n->exponent--;
	}
	return true;
}

static bool read_exponent(struct json_reader *r, struct number *n)
{
	enum { ENOUGH = 1000000000 }; /* more than the longest text has digits */
	bool negative;
	int e = 0;

	r->at++;
	negative = peek(r) == '-';
	if (negative || peek(r) == '+')
		r->at++;
	if (!is_digit(peek(r)))
		return bad(r, "a digit must follow the exponent's sign");
	for (; is_digit(peek(r)); r->at++)
		if (e < ENOUGH / 10)
			e = e * 10 + (peek(r) - '0');
	n->exponent += negative ? -e : e;
	return true;
}

static bool overflows(const struct number *n)
{
	char power[16];

	if (n->significand == 0 || n->exponent <= 0)
		return false;
	if (n->exponent > 308)
		return true;
	(void)snprintf(power, sizeof(power), "1e%d", n->exponent);
	return isinf((double)n->significand * strtod(power, NULL)) != 0;
}

static enum json_token read_number(struct json_reader *r)
{
	struct number n = {0};
	size_t start = r->at;
	bool whole = true;

	if (peek(r) == '-') {
		whole = false;
		r->at++;
	}
	if (!is_digit(peek(r)))
		return bad(r, "a digit must follow the minus sign");
	if (peek(r) == '0' && r->at + 1 < r->len && is_digit(r->text[r->at + 1]))
		return bad_token(r, "a number begins with 0");
	for (; is_digit(peek(r)); r->at++) {
		take_digit(&n, (uint64_t)(peek(r) - '0'));
		n.exponent += n.full;
	}
	whole = whole && !n.full;
	if (peek(r) == '.') {
		whole = false;
		if (!read_fraction(r, &n))
			return JSON_BAD;
	}
	if (peek(r) == 'e' || peek(r) == 'E') {
		whole = false;
		if (!read_exponent(r, &n))
			return JSON_BAD;
	}
	if (overflows(&n))
		return bad_token_at(r, start, "number out of range");
	r->uint = n.significand;
	return whole ? JSON_UINT : JSON_NUMBER;
}

static enum json_token read_word(struct json_reader *r, const char *word, enum json_token token)
{
	size_t len = strlen(word);

	if (r->len - r->at < len || memcmp(r->text + r->at, word, len) != 0)
		return bad_token(r, "unknown word");
	r->at += len;
	return token;
}

/* ---- grammar -------------------------------------------------------------------------------- */

static enum json_token open_container(struct json_reader *r, bool is_object)
{
	if (r->depth + 1 >= JSON_DEPTH_LIMIT)
		return bad_token(r, "nested too deep");
	r->is_object[r->depth++] = is_object;
	r->at++;
	r->state = STATE_FIRST;
	return is_object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token close_container(struct json_reader *r)
{
	r->at++;
	r->depth--;
	r->state = STATE_AFTER;
	return r->is_object[r->depth] ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_token read_value(struct json_reader *r)
{
	int c = peek_token(r);

	r->state = STATE_AFTER;
	switch (c) {
	case '{':
		return open_container(r, true);
	case '[':
		return open_container(r, false);
	case '"':
		return read_string(r, &r->strings) ? JSON_STRING : JSON_BAD;
	case 't':
		return read_word(r, "true", JSON_BOOL);
	case 'f':
		return read_word(r, "false", JSON_BOOL);
	case 'n':
		return read_word(r, "null", JSON_NULL);
	default:
		if (c == '-' || is_digit(c))
			return read_number(r);
		return bad_token(r, "expected a value");
	}
}

static enum json_token read_name(struct json_reader *r)
{
	if (peek_token(r) != '"')
		return bad_token(r, "expected a member's name in double quotes");
	if (!read_string(r, &r->names))
		return JSON_BAD;
	if (peek_token(r) != ':')
		return bad_token(r, "expected ':'");
	r->at++;
	r->state = STATE_VALUE;
	return JSON_NAME;
}

/* Inside a container: its end, or its next member or element. */
static enum json_token read_in_container(struct json_reader *r)
{
	bool is_object = r->is_object[r->depth - 1];
	int c = peek_token(r), end = is_object ? '}' : ']';
	size_t comma = r->at;

	if (c == end)
		return close_container(r);
	if (r->state == STATE_AFTER) {
		if (c != ',')
			return bad_token(r,
					 is_object ? "expected ',' or '}'" : "expected ',' or ']'");
		r->at++;
		if (peek_token(r) == end)
			return bad_token_at(r, comma, "trailing comma");
	}
	return is_object ? read_name(r) : read_value(r);
}

enum json_token json_next(struct json_reader *r)
{
	if (r->code)
		return JSON_BAD;
	if (r->state == STATE_VALUE)
		return read_value(r);
	if (r->depth > 0)
		return read_in_container(r);
	if (peek_token(r) >= 0)
		return bad_token(r, "text after the value");
	return JSON_END;
}

enum json_token json_skip(struct json_reader *r)
{
	unsigned int depth = r->depth;
	enum json_token first = json_next(r);

	while (r->depth > depth)
		if (json_next(r) == JSON_BAD)
			return JSON_BAD;
	return first;
}
