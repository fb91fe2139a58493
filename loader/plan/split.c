/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor and a rank -> which of its bytes, as TensorRT-LLM slices (modules/linear.py,
 * load_weight_shard; attention's _duplicate_kv):
 *
 *   name -> rule       the modules of the rules are looked for in the tensor's name
 *   rule -> range      of one dimension: ceil(size / tp) for each rank, or whole heads
 *   range -> pieces    one of each row outside that dimension; dimension 0 has one in all
 *
 * What no rule can slice right is refused: a rank that silently had all of a weight, or scales of
 * other rows than its own, would compute garbage. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "loader/plan/draft.h"
#include "loader/plan/split.h"

/* Elements [start, start + length) of a dimension. */
struct range {
	uint64_t start, length;
};

/* Fails with "rank 1 of 3: tensor 'NAME' …". */
__attribute__((format(printf, 5, 6))) static int fail_tensor(const struct split *split,
							     const struct wload_tensor *tensor,
							     int code, struct wload_error *err,
							     const char *fmt, ...)
{
	char why[512];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return wload_fail(err, code, "rank %" PRIu32 " of %" PRIu32 ": tensor '%.*s' %s",
			  split->rank, split->tp, DRAFT_SHOW(tensor->name), why);
}

/* ---- which rule ------------------------------------------------------------------------------ */

/* The length of a module that a name begins with, and a dot after it, or 0. */
static size_t begins_with(const char *name, const char *module)
{
	size_t len = 0;

	while (module[len] && name[len] == module[len])
		len++;
	return module[len] == '\0' && name[len] == '.' ? len : 0;
}

/* The rule of the longest module that a name begins with, or NULL.
 *
 * ret_leaf  what follows the module and its dot */
static const struct rules_split *rule_at(const struct wload_rules *rules, const char *name,
					 const char **ret_leaf)
{
	const struct rules_split *rule = NULL;
	size_t most = 0;

	for (size_t i = 0; i < rules->split_count; i++) {
		const struct rules_names *modules = &rules->split[i].modules;

		for (size_t j = 0; j < modules->count; j++) {
			size_t len = begins_with(name, modules->items[j]);

			if (len <= most)
				continue;
			most = len;
			rule = &rules->split[i];
			*ret_leaf = name + len + 1;
		}
	}
	return rule;
}

static const struct rules_split *find_rule(const struct wload_rules *rules, const char *name,
					   const char **ret_leaf)
{
	const struct rules_split *rule = NULL;

	while (name && !rule) {
		rule = rule_at(rules, name, ret_leaf);
		name = strchr(name, '.');
		name = name ? name + 1 : NULL;
	}
	return rule;
}

static bool one_element(const struct wload_tensor *tensor)
{
	for (uint32_t i = 0; i < tensor->rank; i++)
		if (tensor->shape[i] != 1)
			return false;
	return true;
}

/* How a tensor is split; NULL: every rank has all of it. */
static int find_way(const struct split *split, const struct wload_tensor *tensor,
		    const struct along **ret_along, struct wload_error *err)
{
	const struct rules_split *rule;
	const char *leaf = NULL;

	*ret_along = NULL;
	if (one_element(tensor))
		return 0;
	rule = find_rule(split->rules, tensor->name, &leaf);
	if (!rule && tensor->rank > 1)
		return fail_tensor(split, tensor, EOPNOTSUPP, err,
				   "has %" PRIu32 " dimensions, and no split rule of '%s' names it",
				   tensor->rank, split->rules->family);
	if (!rule || !rule->along->splits)
		return 0;
	if (!rules_names_contain(&rule->leaves, leaf))
		return fail_tensor(split, tensor, EOPNOTSUPP, err,
				   "is of a module that is split along '%s', and the rules of '%s' "
				   "do not say how '%.*s' is",
				   rule->along->word, split->rules->family, DRAFT_SHOW(leaf));
	if (rule->along->dim < tensor->rank)
		*ret_along = rule->along;
	return 0;
}

/* ---- which range ----------------------------------------------------------------------------- */

/* Equal shares, rounded up: the last ranks may have less, or nothing. */
static struct range range_of_rows(const struct split *split, uint64_t size)
{
	uint64_t share = size / split->tp + (size % split->tp != 0);
	struct range range = {0, size};

	if (size <= 1)
		return range;
	range.start = split->rank <= size / share ? split->rank * share : size;
	range.length = size - range.start < share ? size - range.start : share;
	return range;
}

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
	return fail_tensor(split, tensor, EINVAL, err,
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

static int count_heads(const struct split *split, const struct wload_tensor *tensor,
		       const struct along *along, struct heads *heads, struct wload_error *err)
{
	int r = ask_count(split, tensor, along, "head_dim", &heads->rows, err);

	heads->key = along->heads;
	if (r == 0)
		r = ask_count(split, tensor, along, heads->key, &heads->count, err);
	if (r < 0 || heads->count)
		return r;
	return guess_heads(split, tensor, along, heads, err);
}

/* How much of a dimension each head has; they must fill it. */
static int size_heads(const struct split *split, const struct wload_tensor *tensor,
		      const struct along *along, struct heads *heads, struct wload_error *err)
{
	uint64_t size = tensor->shape[along->dim];
	int r = count_heads(split, tensor, along, heads, err);

	if (r < 0)
		return r;
	if (heads->rows && (size % heads->count != 0 || size / heads->count != heads->rows))
		return fail_tensor(split, tensor, EINVAL, err,
				   "has dimension %" PRIu32 " of %" PRIu64
				   ", which is not the %" PRIu64 " heads of config.json ('%s'), "
				   "of %" PRIu64 " rows each",
				   along->dim, size, heads->count, heads->key, heads->rows);
	if (size % heads->count != 0)
		return fail_tensor(split, tensor, EINVAL, err,
				   "has dimension %" PRIu32 " of %" PRIu64
				   ", which is not the %" PRIu64 " heads of config.json ('%s')",
				   along->dim, size, heads->count, heads->key);
	heads->rows = size / heads->count;
	return 0;
}

static int range_of_heads(const struct split *split, const struct wload_tensor *tensor,
			  const struct along *along, struct range *ret_range,
			  struct wload_error *err)
{
	struct heads heads = {NULL, 0, 0};
	int r = size_heads(split, tensor, along, &heads, err);
	uint64_t share;

	if (r < 0)
		return r;
	if (heads.count % split->tp == 0) {
		share = heads.count / split->tp * heads.rows;
		*ret_range = (struct range){split->rank * share, share};
		return 0;
	}
	if (along->repeats && split->tp % heads.count == 0) {
		share = split->tp / heads.count; /* ranks of a head */
		*ret_range = (struct range){split->rank / share * heads.rows, heads.rows};
		return 0;
	}
	return fail_tensor(split, tensor, EINVAL, err,
			   "has dimension %" PRIu32 " of %" PRIu64 ": %" PRIu64 " heads ('%s'), of "
			   "which %" PRIu32 " is no divisor%s",
			   along->dim, tensor->shape[along->dim], heads.count, heads.key, split->tp,
			   along->repeats ? " and no multiple" : "");
}

/* ---- which bytes ----------------------------------------------------------------------------- */

/* The sizes of the dimensions first … end - 1 multiplied; bounded by the tensor's own bits where
 * it has any. */
static uint64_t product(const struct wload_tensor *tensor, uint32_t first, uint32_t end)
{
	uint64_t n = 1;

	for (uint32_t i = first; i < end; i++)
		n *= tensor->shape[i];
	return n;
}

static int cut(const struct split *split, const struct wload_tensor *tensor, uint32_t dim,
	       struct range range, struct split_part *part, struct wload_error *err)
{
	const struct wload_dtype_desc *type = wload_dtype_describe(tensor->dtype);
	uint64_t rows = product(tensor, 0, dim);
	uint64_t bits = product(tensor, dim + 1, tensor->rank) * type->bits;

	part->cut = true;
	part->dim = dim;
	part->length = range.length;
	part->source = (struct wload_source){.rows = 1};
	if (range.length == 0 || tensor->bytes == 0)
		return 0;
	if (range.start * bits % 8 || range.length * bits % 8 || tensor->shape[dim] * bits % 8)
		return fail_tensor(split, tensor, EOPNOTSUPP, err,
				   "has dimension %" PRIu32 " of %" PRIu64
				   " in %s, of which %" PRIu64 " from %" PRIu64
				   " are no whole bytes",
				   dim, tensor->shape[dim], type->name, range.length, range.start);
	if (rows > UINT32_MAX)
		return fail_tensor(split, tensor, E2BIG, err,
				   "has dimension %" PRIu32 " in %" PRIu64
				   " pieces, over our limit of 2^32 - 1",
				   dim, rows);
	part->source.rows = (uint32_t)rows;
	part->source.src_offset = range.start * bits / 8;
	part->source.src_stride = rows > 1 ? tensor->shape[dim] * bits / 8 : 0;
	part->source.bytes = rows * (range.length * bits / 8);
	return 0;
}

int split_tensor(const struct split *split, const struct wload_tensor *tensor,
		 struct split_part *ret_part, struct wload_error *err)
{
	const struct along *along = NULL;
	struct split_part part = {.source = {.rows = 1, .bytes = tensor->bytes}};
	struct range range;
	int r = split->tp > 1 ? find_way(split, tensor, &along, err) : 0;

	if (r == 0 && along) {
		range = range_of_rows(split, tensor->shape[along->dim]);
		if (along->heads)
			r = range_of_heads(split, tensor, along, &range, err);
		if (r == 0 && range.length < tensor->shape[along->dim])
			r = cut(split, tensor, along->dim, range, &part, err);
	}
	if (r == 0)
		*ret_part = part;
	return r;
}
