/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_PRINT_COUNT_H
#define WLOAD_PLAN_PRINT_COUNT_H

#include "wloadfs/plan.h"

/* The figures of a plan's summary. */
struct plan_counts {
	uint32_t tensors, parameters;
	uint32_t fused;	    /* parameters made of more than one source */
	uint32_t unused;    /* tensors */
	uint32_t elsewhere; /* tensors that only other ranks need */
};

struct plan_counts plan_counts(const struct wload_inventory *inv, const struct wload_plan *plan);

#endif
