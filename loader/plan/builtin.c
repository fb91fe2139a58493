/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that are compiled in. They are a few hundred bytes a family and parsed for each plan
 * that is built, up to the family that fits: microseconds, in exchange for no global state. So the
 * object that stands for them is nothing but a mark. */

#include <string.h>

#include "loader/plan/builtin.h"
#include "loader/plan/rules.h"

const struct wload_rules *wload_rules_builtin(void)
{
	static const struct wload_rules mark = {.builtin = true};

	return &mark;
}

int builtin_rules_for(const char *model_type, struct wload_rules **ret_rules,
		      struct wload_error *err)
{
	struct wload_rules *rules;
	size_t i;
	int r;

	for (i = 0; i < rules_text_count; i++) {
		r = wload_rules_parse(rules_texts[i].text, strlen(rules_texts[i].text),
				      rules_texts[i].name, &rules, err);
		if (r < 0)
			return r;
		if (rules_names_contain(&rules->model_types, model_type)) {
			*ret_rules = rules;
			return 0;
		}
		wload_rules_free(rules);
	}
	*ret_rules = NULL;
	return 0;
}
