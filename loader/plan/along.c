/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to split a module, after TensorRT-LLM's TensorParallelMode (modules/linear.py) and its
 * attention's heads. */

#include <string.h>

#include "loader/plan/along.h"

static const struct along ways[] = {
	{.word = "column", .splits = true, .dim = 0},
	{.word = "row", .splits = true, .dim = 1},
	{.word = "vocab", .splits = true, .dim = 0},
	{.word = "heads", .splits = true, .dim = 0, .heads = "num_attention_heads"},
	{.word = "kv_heads",
	 .splits = true,
	 .dim = 0,
	 .heads = "num_key_value_heads",
	 .heads_else = "num_attention_heads",
	 .repeats = true},
	{.word = "whole"},
};

const struct along *along_find(const char *word)
{
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (!strcmp(ways[i].word, word))
			return &ways[i];
	return NULL;
}
