/* SPDX-License-Identifier: Apache-2.0 */
/* Parses options by a table. getopt_long() would do, but for what a wrong value is told: it knows
 * neither kinds nor bounds, prints by itself, and keeps its place in globals. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "loader/base/size.h"
#include "loader/cli/options.h"

static const struct option_desc *find_long(const struct option_desc *table, const char *name,
					   size_t len)
{
	for (; table->name; table++)
		if (strlen(table->name) == len && !memcmp(table->name, name, len))
			return table;
	return NULL;
}

static const struct option_desc *find_letter(const struct option_desc *table, char letter)
{
	for (; table->name; table++)
		if (table->letter == letter)
			return table;
	return NULL;
}

static bool is_device(const char *s)
{
	uint64_t n;

	if (!strcmp(s, "auto") || !strcmp(s, "cuda") || !strcmp(s, "host") || !strcmp(s, "null"))
		return true;
	return !strncmp(s, "cuda:", 5) && number_parse(s + 5, &n) && n < 1024;
}

static int fail_bound(const struct option_desc *option, const char *value, struct wload_error *err)
{
	return wload_fail(err, EINVAL, "--%s: '%s' is not a %s from %" PRIu64 " to %" PRIu64,
			  option->name, value, option->kind == OPTION_SIZE ? "size" : "number",
			  option->min, option->max);
}

static int fail_seconds(const struct option_desc *option, const char *value,
			struct wload_error *err)
{
	return wload_fail(err, EINVAL, "--%s: '%s' is not a number of seconds from %g to %g",
			  option->name, value, (double)option->min / 1000,
			  (double)option->max / 1000);
}

static int set_choice(const struct option_desc *option, const char *value, unsigned int *field,
		      struct wload_error *err)
{
	const char *word = option->value;
	size_t len = strlen(value);

	for (unsigned int i = 0; *word; i++) {
		size_t word_len = strcspn(word, "|");

		if (len == word_len && !memcmp(word, value, len)) {
			*field = i;
			return 0;
		}
		word += word_len + (word[word_len] == '|');
	}
	return wload_fail(err, EINVAL, "--%s: '%s' is none of %s", option->name, value,
			  option->value);
}

static int set_value(const struct option_desc *option, const char *value, struct options *ret,
		     struct wload_error *err)
{
	void *field = (char *)ret + option->offset;
	uint64_t n;

	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_TEXT:
		if (!*value)
			return wload_fail(err, EINVAL, "--%s: the value is empty, want %s",
					  option->name, option->value);
		*(const char **)field = value;
		return 0;
	case OPTION_DEVICE:
		if (!is_device(value))
			return wload_fail(err, EINVAL,
					  "--%s: '%s' is none of auto, cuda, cuda:N, host, null",
					  option->name, value);
		*(const char **)field = value;
		return 0;
	case OPTION_CHOICE:
		return set_choice(option, value, field, err);
	case OPTION_SECONDS:
		if (!seconds_parse(value, &n) || n < option->min || n > option->max)
			return fail_seconds(option, value, err);
		*(uint64_t *)field = n;
		return 0;
	case OPTION_SIZE:
	case OPTION_NUMBER:
		if (!(option->kind == OPTION_SIZE ? size_parse : number_parse)(value, &n) ||
		    n < option->min || n > option->max)
			return fail_bound(option, value, err);
		*(uint64_t *)field = n;
		return 0;
	}
	return 0;
}

/* One "--name[=value]"; *args is left at the last word that was used. */
static int parse_long(const struct option_desc *table, char *const **args, struct options *ret,
		      struct wload_error *err)
{
	const char *name = **args + 2, *value = strchr(name, '=');
	size_t len = value ? (size_t)(value - name) : strlen(name);
	const struct option_desc *option = find_long(table, name, len);

	if (!option)
		return wload_fail(err, EINVAL, "unknown option '--%.*s'",
				  (int)(len < 64 ? len : 64), name);
	if (!option->value) {
		if (value)
			return wload_fail(err, EINVAL, "--%s takes no value, got '%s'",
					  option->name, value + 1);
		return set_value(option, NULL, ret, err);
	}
	if (value)
		return set_value(option, value + 1, ret, err);
	if (!(*args)[1])
		return wload_fail(err, EINVAL, "--%s: the value is missing, want %s", option->name,
				  option->value);
	++*args;
	return set_value(option, **args, ret, err);
}

/* "-l", or several in one word; letters are flags. */
static int parse_letters(const struct option_desc *table, const char *word, struct options *ret,
			 struct wload_error *err)
{
	for (word++; *word; word++) {
		const struct option_desc *option = find_letter(table, *word);
		int r;

		if (!option)
			return wload_fail(err, EINVAL, "unknown option '-%c'", *word);
		r = set_value(option, NULL, ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_argument(unsigned int args_max, const char *word, struct options *ret,
			 struct wload_error *err)
{
	if (!ret->path)
		ret->path = word;
	else if (args_max > 1 && !ret->prefix)
		ret->prefix = word;
	else
		return wload_fail(err, EINVAL, "unexpected argument '%s'", word);
	return 0;
}

int options_parse(const struct option_desc *table, unsigned int args_max, char *const *args,
		  struct options *ret, struct wload_error *err)
{
	struct options options = {.rank = OPTION_NOT_GIVEN, .dtype = OPTION_CHOICE_NOT_GIVEN};
	bool words_only = false;
	int r = 0;

	for (; *args && r == 0; args++) {
		if (words_only || **args != '-' || !(*args)[1])
			r = take_argument(args_max, *args, &options, err);
		else if (!strcmp(*args, "--"))
			words_only = true;
		else if ((*args)[1] == '-')
			r = parse_long(table, &args, &options, err);
		else
			r = parse_letters(table, *args, &options, err);
	}
	if (r == 0)
		*ret = options;
	return r;
}

void options_help(const struct option_desc *table, struct text *text)
{
	for (; table->name; table++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s--%s%s%s",
			       table->letter ? (const char[]){'-', table->letter, ',', ' ', 0} : "",
			       table->name, table->value ? " " : "",
			       table->value ? table->value : "");
		text_printf(text, "  %-26s %s\n", left, table->help);
	}
}
