/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_STEP_H
#define WLOAD_PLAN_STEP_H

/* Steps in words. */

#include "wloadfs/transform.h"

/* What a kind of step is called: "move", "cast", "dequantise_fp8" … */
const char *step_kind_name(enum wload_step_kind kind);

#endif
