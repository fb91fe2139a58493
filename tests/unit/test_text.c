/* SPDX-License-Identifier: Apache-2.0 */
/* loader/base/text: names of any kind as XML. */

#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/base/text.h"
#include "tap.h"

#define FFFD "\xef\xbf\xbd"

static const struct {
	const char *name, *in, *want;
} rows[] = {
	{"empty", "", ""},
	{"plain", "model.layers.0", "model.layers.0"},
	{"markup", "<a href=\"x\">&'", "&#60;a href=&#34;x&#34;&#62;&#38;&#39;"},
	{"two to four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82",
	 "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"},
	{"control bytes", "a\nb\x1b[31m\x7f", "a" FFFD "b" FFFD "[31m" FFFD},
	{"a NUL as names have it", "a\xc0\x80z", "a" FFFD FFFD "z"},
	{"not UTF-8", "\xff\xc3", FFFD FFFD},
	{"a surrogate", "\xed\xa0\x80", FFFD FFFD FFFD},
	{"U+FFFE is no character", "\xef\xbf\xbe|", FFFD FFFD FFFD "|"},
	{"U+FFFD is one", FFFD, FFFD},
};

int main(void)
{
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text text CLEANUP(text_free) = {0};

		text_xml_string(&text, rows[i].in);
		ok(&tap, text.s && !strcmp(text.s, rows[i].want), "xml: %s: '%s'", rows[i].name,
		   text.s ? text.s : "");
	}
	return tap_done(&tap);
}
