/* SPDX-License-Identifier: Apache-2.0 */
/* A rank has whole heads: an equal number of them, or, of key-value heads that are fewer than the
 * ranks, the one that it shares with its neighbours. */

#include <errno.h>
#include <inttypes.h>

#include "loader/plan/heads.h"

/* What config.json tells of the heads that a dimension is made of. */
struct heads {
	const char *key; /* that told how many */
	uint64_t count;
	uint64_t rows; /* of each; 0: it does not say */
};

/* Fails with "… has dimension 0 of 16: split by heads, and config.json WHY". */
static int fail_heads(const struct split *split, const struct wload_tensor *tensor,
		      const struct along *along, const char *why, const char *key,
		      struct wload_error *err)
{
	return split_fail(split, tensor->name, EINVAL, err,
			  "has dimension %" PRIu32 " of %" PRIu64
			  ", split by heads, and config.json %s '%s'",
			  along->dim, tensor->shape[along->dim], why, key);
}

static int ask_count(const struct split *split, const struct wload_tensor *tensor,
		     const struct along *along, const char *key, uint64_t *ret_count,
		     struct wload_error *err)
{
	if (config_count(split->config, key, ret_count))
		return 0;
	return fail_heads(split, tensor, along, "has no whole number from 1 to 2^32 - 1 as", key,
			  err);
}

/* Where config.json lacks the number there is a default: a guess, which the size of a head must
 * bear out. */
static int guess_heads(const struct split *split, const struct wload_tensor *tensor,
		       const struct along *along, struct heads *heads, struct wload_error *err)
{
	uint64_t all = 0;
	int r = 0;

	heads->key = along->heads_else;
	if (heads->key)
		r = ask_count(split, tensor, along, heads->key, &heads->count, err);
	if (r == 0 && !heads->count)
		return fail_heads(split, tensor, along, "tells no number as", along->heads, err);
	if (r == 0 && !heads->rows)
		r = ask_count(split, tensor, along, "hidden_size", &all, err);
	if (r < 0)
		return r;
	if (!heads->rows && all % heads->count == 0)
		heads->rows = all / heads->count;
	return heads->rows ? 0
			   : fail_heads(split, tensor, along, "tells neither 'head_dim' nor",
					along->heads, err);
}

/* The rows of a head, where config.json tells them. */
static int ask_rows(const struct split *split, const struct wload_tensor *tensor,
		    const struct rules_split *rule, uint64_t *ret_rows, struct wload_error *err)
{
	const struct along *along = rule->along;
	int r = 0;

	if (!rule->head_count)
		return ask_count(split, tensor, along, "head_dim", ret_rows, err);
	for (size_t i = 0; r == 0 && i < rule->head_count; i++) {
		const char *key = rule->head[i].key;
		uint64_t rows = rule->head[i].number;

		if (key)
			r = ask_count(split, tensor, along, key, &rows, err);
		if (r == 0 && !rows)
			r = fail_heads(split, tensor, along, "tells no number as", key, err);
		*ret_rows += rows; /* at most RULES_HEAD_MAX numbers below 2^32 */
	}
	return r;
}

static int count_heads(const struct split *split, const struct wload_tensor *tensor,
		       const struct rules_split *rule, struct heads *heads, struct wload_error *err)
{
	const struct along *along = rule->along;
	int r = ask_rows(split, tensor, rule, &heads->rows, err);

	heads->key = along->heads;
	if (r == 0)
		r = ask_count(split, tensor, along, heads->key, &heads->count, err);
	if (r < 0 || heads->count)
		return r;
	return guess_heads(split, tensor, along, heads, err);
}

/* How much of a dimension each head has; they must fill it. */
static int size_heads(const struct split *split, const struct wload_tensor *tensor,
		      const struct rules_split *rule, struct heads *heads, struct wload_error *err)
{
	const struct along *along = rule->along;
	uint64_t size = tensor->shape[along->dim];
	int r = count_heads(split, tensor, rule, heads, err);

	if (r < 0)
		return r;
	if (heads->rows && (size % heads->count != 0 || size / heads->count != heads->rows))
		return split_fail(split, tensor->name, EINVAL, err,
				  "has dimension %" PRIu32 " of %" PRIu64
				  ", which is not the %" PRIu64 " heads of config.json ('%s'), "
				  "of %" PRIu64 " rows each",
				  along->dim, size, heads->count, heads->key, heads->rows);
	if (size % heads->count != 0)
		return split_fail(split, tensor->name, EINVAL, err,
				  "has dimension %" PRIu32 " of %" PRIu64
				  ", which is not the %" PRIu64 " heads of config.json ('%s')",
				  along->dim, size, heads->count, heads->key);
	heads->rows = size / heads->count;
	return 0;
}

int heads_range(const struct split *split, const struct wload_tensor *tensor,
		const struct rules_split *rule, struct split_range *ret_range,
		struct wload_error *err)
{
	const struct along *along = rule->along;
	struct heads heads = {NULL, 0, 0};
	int r = size_heads(split, tensor, rule, &heads, err);
	uint64_t share;

	if (r < 0)
		return r;
	if (heads.count % split->tp == 0) {
		share = heads.count / split->tp * heads.rows;
		*ret_range = (struct split_range){split->rank * share, share};
		return 0;
	}
	if (along->repeats && split->tp % heads.count == 0) {
		share = split->tp / heads.count; /* ranks of a head */
		*ret_range = (struct split_range){split->rank / share * heads.rows, heads.rows};
		return 0;
	}
	return split_fail(split, tensor->name, EINVAL, err,
			  "has dimension %" PRIu32 " of %" PRIu64 ": %" PRIu64 " heads ('%s'), of "
			  "which %" PRIu32 " is no divisor%s",
			  along->dim, tensor->shape[along->dim], heads.count, heads.key, split->tp,
			  along->repeats ? " and no multiple" : "");
}
