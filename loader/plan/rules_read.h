/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_RULES_READ_H
#define WLOAD_PLAN_RULES_READ_H

/* Reading one object of a rules text: a table of its members, {name, reader, where it goes}. One
 * walk reads any of them, and it alone knows about unknown, missing and mistyped members. */

#include "loader/plan/json_text.h"
#include "loader/plan/rules.h"

/* Where the parser is, for messages. */
struct reading {
	const char *what; /* the file */
	const char *kind; /* "family", "fuse", "split", … */
	size_t index;	  /* of the rule in its list */
	struct wload_error *err;
};

struct field {
	const char *name;
	int (*read)(const struct reading *in, const char *name, struct json_object *value,
		    void *ret);
	size_t offset; /* of what it fills in the object's struct */
	bool optional; /* then the struct holds its default already */
};

/* Fails with "'FILE': 'fuse[1].from' …". */
int read_fail(const struct reading *in, int code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Readers of single values: a string that is not empty (const char **), true or false (bool *). */
int read_string(const struct reading *in, const char *name, struct json_object *value, void *ret);
int read_flag(const struct reading *in, const char *name, struct json_object *value, void *ret);

/* Checks that a value is an array of min … max elements. */
int read_check_array(const struct reading *in, const char *name, struct json_object *value,
		     size_t min, size_t max);

/* Reads an array of different strings. */
int read_names(const struct reading *in, const char *name, struct json_object *value, size_t min,
	       size_t max, struct rules_names *ret);

/* Reads an object by the table of its members, which ends with a NULL name. */
int read_object(const struct reading *in, struct json_object *object, const struct field *fields,
		void *ret);

/* Checks that a string is a whole number of components of a tensor's name, or just one. */
int read_check_components(const struct reading *in, const char *name, const char *value, bool one);

#endif
