/* SPDX-License-Identifier: Apache-2.0 */
/* How names are spelled as files. One name has one spelling, and all spellings differ:
 *
 *     model.embed.weight       model.embed.weight
 *     a/b   50%   tab          a%2Fb   50%25   %09     '%', '/', control bytes (and DEL): %XX
 *     a NUL (C0 80)            %00
 *     .   ..   and none        %2E   %2E%2E   %        '%' alone is never an escape
 *     over 255 bytes           beginning of the spelling "%~" 16 hex digits
 *
 * The digits are the 64-bit FNV-1a hash of the full name, lower case. A shortened name is cut where
 * an escape or a UTF-8 sequence ends, so it can be printed, and "%~" occurs in no other spelling.
 */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "loader/checkpoint/names.h"

enum {
	HASH_DIGITS = 16,
	MARK_BYTES = 2 + HASH_DIGITS, /* "%~" and the digits */
	SUFFIX_MAX = 16,
};

static uint64_t fnv1a(const char *p, size_t len)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static size_t put_escape(unsigned char c, char out[4])
{
	static const char digits[] = "0123456789ABCDEF";

	out[0] = '%';
	out[1] = digits[c >> 4];
	out[2] = digits[c & 15];
	return 3;
}

/* The bytes of a name that must not be parted: a UTF-8 sequence, going by its first byte. */
static size_t unit_bytes(const char *p, size_t left)
{
	unsigned char c = (unsigned char)p[0];
	size_t i, want = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

	for (i = 1; i < want && i < left && ((unsigned char)p[i] & 0xc0) == 0x80; i++)
		;
	return i;
}

/* Spells the unit at p; returns how many bytes of the name it took. */
static size_t spell_unit(const char *p, size_t left, char out[4], size_t *ret_len)
{
	unsigned char c = (unsigned char)p[0];
	size_t unit = unit_bytes(p, left);

	if (unit == 2 && memcmp(p, "\xc0\x80", 2) == 0) {
		*ret_len = put_escape(0, out);
	} else if (c < 0x20 || c == 0x7f || c == '%' || c == '/') {
		*ret_len = put_escape(c, out);
	} else {
		memcpy(out, p, unit);
		*ret_len = unit;
	}
	return unit;
}

static bool is_special(const char *name, size_t len, const char **ret_spelling)
{
	if (len == 0)
		*ret_spelling = "%";
	else if (len == 1 && name[0] == '.')
		*ret_spelling = "%2E";
	else if (len == 2 && memcmp(name, "..", 2) == 0)
		*ret_spelling = "%2E%2E";
	else
		return false;
	return true;
}

int name_to_file(const char *name, size_t len, const char *suffix, char ret[NAME_FILE_MAX + 1])
{
	size_t room = NAME_FILE_MAX - strlen(suffix);
	size_t i, used = 0, cut = 0, unit;
	const char *special;
	char out[4];

	assert(strlen(suffix) <= SUFFIX_MAX);
	if (is_special(name, len, &special))
		return snprintf(ret, NAME_FILE_MAX + 1, "%s%s", special, suffix);
	for (i = 0; i < len;) {
		i += spell_unit(name + i, len - i, out, &unit);
		if (used + unit > room)
			return (int)cut + snprintf(ret + cut, NAME_FILE_MAX + 1 - cut,
						   "%%~%0*" PRIx64 "%s", HASH_DIGITS,
						   fnv1a(name, len), suffix);
		memcpy(ret + used, out, unit);
		used += unit;
		if (used + MARK_BYTES <= room)
			cut = used;
	}
	return (int)used + snprintf(ret + used, NAME_FILE_MAX + 1 - used, "%s", suffix);
}

bool name_is_shortened(const char *file, size_t len)
{
	size_t i;

	if (len < MARK_BYTES || memcmp(file + len - MARK_BYTES, "%~", 2) != 0)
		return false;
	for (i = len - HASH_DIGITS; i < len; i++)
		if (!memchr("0123456789abcdef", file[i], 16))
			return false;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes escapes without asking whether they had to be; -1 for a '%' without two digits. */
static int unescape(const char *file, size_t len, char ret[2 * NAME_FILE_MAX])
{
	int high, low, used = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (file[i] != '%') {
			ret[used++] = file[i];
			continue;
		}
		if (len - i < 3 || (high = hex_digit(file[i + 1])) < 0 ||
		    (low = hex_digit(file[i + 2])) < 0)
			return -1;
		i += 2;
		if (high == 0 && low == 0) {
			ret[used++] = '\xc0';
			ret[used++] = '\x80';
		} else {
			ret[used++] = (char)(high << 4 | low);
		}
	}
	return used;
}

/* Only the one spelling is accepted, so what was read is spelled again and compared. */
int name_from_file(const char *file, size_t len, char *ret, size_t cap, size_t *ret_len)
{
	char name[2 * NAME_FILE_MAX], again[NAME_FILE_MAX + 1];
	int name_len = 0;

	if (len == 0 || len > NAME_FILE_MAX || memchr(file, '\0', len))
		return -ENOENT;
	if (len != 1 || file[0] != '%')
		name_len = unescape(file, len, name);
	if (name_len < 0 || (size_t)name_len >= cap)
		return -ENOENT;
	if ((size_t)name_to_file(name, (size_t)name_len, "", again) != len ||
	    memcmp(again, file, len) != 0)
		return -ENOENT;
	memcpy(ret, name, (size_t)name_len);
	ret[name_len] = '\0';
	*ret_len = (size_t)name_len;
	return 0;
}
