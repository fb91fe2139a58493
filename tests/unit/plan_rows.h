/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLAN_ROWS_H
#define PLAN_ROWS_H

/* Tables of plans: rules, a config and tensors in, parameters or a message out. */

#include "loader/base/cleanup.h"
#include "plan_pieces.h"
#include "plan_world.h"
#include "tap.h"

struct row {
	const char *name;
	const char *rules, *config, *tensors;
	uint32_t tp, rank, ep;
	enum wload_layout layout;
	const char *want; /* a line a parameter; of a refusal part of the message */
	int code;	  /* of a refusal */
	const char *note; /* part of it; NULL: none */
};

struct rows {
	const char *name;
	const struct row *rows;
	size_t count;
	enum wload_names names;
};

static inline bool as_wanted(const struct row *row, const struct wload_inventory *inv,
			     const struct wload_plan *plan)
{
	const char *note = wload_plan_note(plan), *wrong = pieces_wrong(inv, plan);
	char *got CLEANUP_FREE = pieces_text(inv, plan);

	if (row->code || wrong || strcmp(got, row->want) != 0 ||
	    (row->note ? !note || !strstr(note, row->note) : note != NULL)) {
		printf("# %s\n%s# wanted:\n%s# note: %s\n", wrong ? wrong : "", got, row->want,
		       note ? note : "none");
		return false;
	}
	return wload_plan_ep(plan) == (row->ep ? row->ep : 1) &&
	       wload_plan_layout(plan) == row->layout;
}

static inline void check_row(struct tap *tap, const struct rows *of, const struct row *row)
{
	struct wload_inventory *inv = world_inventory(row->tensors);
	struct wload_plan_options options = {.tp = row->tp,
					     .rank = row->rank,
					     .ep = row->ep,
					     .layout = row->layout,
					     .names = of->names};
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	struct wload_error err = {0};
	int r = wload_rules_parse(row->rules, strlen(row->rules), "row", &rules, &err);
	bool pass;

	options.rules = rules;
	if (r == 0)
		r = wload_plan_build(inv, row->config, &options, &plan, &err);
	wload_rules_free(rules);
	pass = r == 0 ? as_wanted(row, inv, plan)
		      : row->code == -r && !plan && strstr(err.text, row->want);
	if (!ok(tap, pass, "%s: %s", of->name, row->name))
		printf("# %d %s\n", r, err.text);
	wload_plan_free(plan);
	inventory_free(inv);
}

static inline void check_rows(struct tap *tap, const struct rows *tables, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < tables[i].count; j++)
			check_row(tap, &tables[i], &tables[i].rows[j]);
}

#endif
