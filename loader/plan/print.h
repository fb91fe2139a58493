/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_PLAN_PRINT_H
#define WLOAD_PLAN_PRINT_H

/* A plan for people (table) and for programs (JSON), written as it is walked: nothing is gathered.
 */

#include <stdio.h>

#include "wloadfs/plan.h"

/* Writes a line a parameter, below it a line a source where it has several or has not all of it (of
 * a part: from which byte of the tensor, and how many pieces how far apart; of many sources the
 * first and how many more there are), and the names of the transforms that make it of those, then a
 * summary and the plan's note. In names, control bytes become '?'.
 *
 * Returns 0, or -EIO when `out` failed. */
int plan_print_table(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan);

/* Writes one JSON object and a newline:
 *
 *   { "family": "llama", "tp": 1, "rank": 0, "ep": 1, "layout": "trtllm", "note": null,
 *     "tensor_count": 9, "parameter_count": 5, "fused_count": 2, "elsewhere_count": 0,
 *     "bytes": 4096,
 *     "parameters": [ { "name": "…", "dtype": "BF16", "shape": [6, 4], "bytes": 48,
 *                       "sources": [ { "tensor": "…", "src_offset": 0, "rows": 1,
 *                                      "src_stride": 0, "dst_offset": 0, "bytes": 16 },
 *                                    … ] }, … ],
 *     "unused": [ "lm_head.weight" ] }
 *
 * A parameter that is made by steps has three members more: "staged_bytes", "zeroed" (a boolean)
 * and "steps", each as struct wload_step says, its members by their names:
 *
 *   { "kind": "move", "name": "transpose", "from": "BF16", "to": "BF16", "scale_dtype": "BOOL",
 *     "in": 0, "scale": 0, "scale_2": 0, "all_scale_2": 0, "out": 0, "begin": [0, 0, 0, 0, 0, 0],
 *     "size": […], "in_stride": […], "out_stride": […], "block": […], "scale_stride": […],
 *     "reduce": 0, "reduce_stride": 0 }
 *
 * "kind" is that of step.c. What a kind does not need means nothing.
 *
 * fused_count: parameters made of more than one source. elsewhere_count: tensors that only other
 * ranks need, which are not among the unused. A source is as struct wload_source says.
 * Numbers are whole, below 2^64.
 *
 * Returns 0, or -EIO when `out` failed. */
int plan_print_json(FILE *out, const struct wload_inventory *inv, const struct wload_plan *plan);

#endif
