/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PLAN_H
#define WLOADFS_PLAN_H

/* The plan: which parameters an engine wants, made of which bytes of which tensors.
 *
 * Pure: inventory + config.json + rules -> parameters. Every parameter is a list of extents with
 * their places in it; fusing by concatenation is only placement and moves nothing twice.
 *
 * Rules are JSON, one file a family (loader/plan/rules/, format in wload-rules(5)):
 *
 *   { "family": "llama",
 *     "model_types": ["llama", "mistral"],
 *     "fuse": [ { "into": "qkv_proj", "from": ["q_proj", "k_proj", "v_proj"], "within": "self_attn" },
 *               { "into": "gate_up_proj", "from": ["gate_proj", "up_proj"], "within": "mlp" } ],
 *     "tied": [ { "when": "tie_word_embeddings", "skip": "lm_head.weight" } ] }
 *
 * A fuse rule joins, along the first dimension and in the order of "from", the tensors
 * PREFIX.within.from[i].LEAF of equal LEAF ("weight", "bias", …) into PREFIX.within.into.LEAF. */

#include "wloadfs/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of one tensor and where they go in a parameter. */
struct wload_source {
	uint32_t tensor;     /* index in the inventory */
	uint64_t src_offset; /* from the tensor's first byte */
	uint64_t dst_offset; /* from the parameter's first byte */
	uint64_t bytes;
};

struct wload_param {
	const char *name; /* modified UTF-8, as in tensor.h */
	const uint64_t *shape;
	uint32_t rank;
	enum wload_dtype dtype;
	uint64_t bytes;
	const struct wload_source *sources; /* in the order of dst_offset, covering all bytes once */
	uint32_t source_count;		    /* 0 for a parameter of 0 bytes made of nothing */
};

/* The rules of one or more families. */
struct wload_rules;

/* The rules that are compiled in; static, needs no freeing. */
WLOAD_API const struct wload_rules *wload_rules_builtin(void);

/* Parses the rules of one family from JSON text.
 *
 * what  names the text in messages (a path)
 *
 * Returns 0, or -EBADMSG naming the field and what is wrong with it, -E2BIG, -ENOMEM. */
WLOAD_API int wload_rules_parse(const char *text, size_t text_len, const char *what,
				struct wload_rules **ret_rules, struct wload_error *err);

/* Reads and parses a rules file. Returns as wload_rules_parse(), or what the system said. */
WLOAD_API int wload_rules_load(const char *path, struct wload_rules **ret_rules,
			       struct wload_error *err);

WLOAD_API void wload_rules_free(struct wload_rules *rules);

struct wload_plan;

/* Builds the plan.
 *
 * config  text of config.json, NULL when there is none
 * rules   wload_rules_builtin(): chosen by the config's "model_type"; rules that the caller loaded
 *         apply whatever the model type is
 *
 * An unknown architecture (no config, no "model_type", or no rule for it) gives one parameter a
 * tensor, and a note. Parameters come in the disk order of their first source. The inventory must
 * outlive the plan.
 *
 * Returns 0, or -EBADMSG (config.json is not JSON, or sources that a rule joins disagree in data
 * type or shape: the message names them), -E2BIG, -ENOMEM. */
WLOAD_API int wload_plan_build(const struct wload_inventory *inv, const char *config,
			       const struct wload_rules *rules, struct wload_plan **ret_plan,
			       struct wload_error *err);

WLOAD_API void wload_plan_free(struct wload_plan *plan);

WLOAD_API uint32_t wload_plan_count(const struct wload_plan *plan);
WLOAD_API const struct wload_param *wload_plan_param(const struct wload_plan *plan, uint32_t index);

/* Sum of all parameters' bytes. */
WLOAD_API uint64_t wload_plan_bytes(const struct wload_plan *plan);

/* How many parameters need a tensor; 0: unused. */
WLOAD_API uint32_t wload_plan_uses(const struct wload_plan *plan, uint32_t tensor);

/* The family whose rules were used ("llama"), or "none". */
WLOAD_API const char *wload_plan_family(const struct wload_plan *plan);

/* One line for the user where the plan has something to say (unknown architecture), or NULL. */
WLOAD_API const char *wload_plan_note(const struct wload_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
