/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_PLAN_H
#define WLOADFS_PLAN_H

/* The plan: which parameters an engine wants, made of which bytes of which tensors.
 *
 * Pure: inventory + config.json + rules, for one of tp ranks -> parameters. Every parameter is a
 * list of extents with their places in it; fusing, slicing and stacking are only placement and move
 * nothing twice. Where elements have to be re-arranged finer than that, or changed, steps do it
 * (transform.h): the plan says how, and looks at no value of a tensor.
 *
 * Rules are JSON, one object a family (loader/plan/rules/, wload-rules(5)):
 *
 *   { "family": "moe",
 *     "model_types": ["moe"],
 *     "packed": [
 *       { "module": "qkv_proj", "within": "self_attn", "parts": ["q_proj", "k_proj", "v_proj"],
 *         "shares": ["num_attention_heads", "num_key_value_heads", "num_key_value_heads"] } ],
 *     "apart": ["vision_model"],
 *     "fuse": [
 *       { "into": "qkv_proj", "from": ["q_proj", "k_proj", "v_proj"], "within": "self_attn" } ],
 *     "also": [
 *       { "into": "k_trans", "from": "k_proj", "within": "self_attn",
 *         "each": "num_key_value_heads", "transpose": true } ],
 *     "experts": [
 *       { "tensor": "gate_up_proj", "within": "mlp.experts", "parts": ["gate_proj", "up_proj"],
 *         "leaf": "weight", "interleaved": false, "transposed": true } ],
 *     "stack": [
 *       { "into": "w3_w1", "from": ["up_proj", "gate_proj"], "within": "mlp.experts",
 *         "along": "column", "layout": "trtllm", "every_rank": ["input_scale"] },
 *       { "into": "w2", "from": ["down_proj"], "within": "mlp.experts", "along": "row" } ],
 *     "split": [
 *       { "modules": ["self_attn.q_proj"], "along": "heads" },
 *       { "modules": ["self_attn.k_proj", "self_attn.v_proj"], "along": "kv_heads" },
 *       { "modules": ["self_attn.o_proj"], "along": "row", "leaves": ["weight", "bias"] },
 *       { "modules": ["mlp.gate"], "along": "whole" },
 *       { "modules": ["embed_tokens", "lm_head"], "along": "vocab" } ],
 *     "tied": [
 *       { "when": "tie_word_embeddings", "default": false,
 *         "skip": "lm_head.weight", "copy_of": "model.embed_tokens.weight" } ] }
 *
 * 1. A fuse rule joins, along the first dimension and in the order of "from", the tensors
 *    [PREFIX.]within.from[i].LEAF of equal PREFIX and LEAF into [PREFIX.]within.into.LEAF, for
 *    every LEAF in "leaves" (default: weight, bias, weight_scale, weight_scale_inv,
 *    weight_scale_2, input_scale).
 * 2. A stack rule does so for experts: [PREFIX.]within.E.from[i].LEAF, E = 0, 1, 2 … become
 *    [PREFIX.]within.into_LEAF, whose dimension 0 is E; each expert's parts are joined along
 *    dimension 1. Scalars become [experts, parts], or [experts] where "from" has one part, but for
 *    those of 13.
 * 3. All of what one PREFIX has is joined, or none of it. It stays in its parts, and the plan's
 *    note says so, when one of the from[i] has a tensor that "leaves" does not list (quantised
 *    weights of other schemes); or lacks one that another has; or when the parts of a LEAF differ
 *    in data type, rank, or a dimension past the first, experts in any; or when what would follow a
 *    scale's last block would begin inside it (6); or when the checkpoint has another tensor of the
 *    joined name, or an earlier rule took a part. A LEAF that is a scalar in every part of a fuse
 *    rule stays, and hinders nothing, but for those of 13.
 * 4. A packed rule says that [PREFIX.]within.module holds several of the parts that fuse and stack
 *    rules of the same "within" join: along the first dimension, in the order of "parts", as large
 *    beside each other as "shares" say, and that "each" times (default: once). Shares and "each"
 *    are numbers, or names of config.json's. A part is then a tensor of the name that it would have
 *    by itself, for all other rules. A scalar of such a module stays.
 * 5. A split rule says what one rank of tp > 1 has of the tensors [PREFIX.]MODULE.LEAF, for every
 *    MODULE in "modules" (one or more components) and LEAF in "leaves" (default: as in 1). Where a
 *    name has several modules the one that begins first counts, and of those the longest. What is
 *    split is cut before it is joined. "along" is one of
 *
 *      column    rows [r * c, (r + 1) * c) of dimension 0, c = ceil(rows / tp): the last ranks may
 *                have fewer, or none
 *      vocab     the same, of an embedding or a head
 *      row       the same of dimension 1; a tensor of one dimension (a bias) is whole
 *      heads     dimension 0 by config.json's "num_attention_heads": tp must divide it
 *      kv_heads  dimension 0 by "num_key_value_heads" (default: "num_attention_heads"): tp must
 *                divide it, or be a multiple of it; then rank r has head r / (tp / heads)
 *      whole     every rank has all of it
 *
 *    A tensor of one element is whole, as is a tensor whose split dimension (column, row, vocab)
 *    is 1. Heads must divide the dimension; where the rule has "head", names of config.json's
 *    numbers or numbers, or else config.json a "head_dim", they must be as large as that, or those
 *    together; a number that is there must be a whole one from 1 to 2^32 - 1. With "divisor"
 *    (column, vocab, row) equal shares go to as many ranks as the greatest common divisor of tp and
 *    the dimension's blocks, rank r having that of r modulo their number; blocks are of
 *    WLOAD_SCALE_BLOCK elements where the module has a weight_scale_inv, of 16 where its weight is
 *    U8 beside a weight_scale (NVFP4), else of one, and must be whole. Tensors that no split rule
 *    names are whole if they have at most one dimension; others, and those of a split module that
 *    "leaves" does not list, are refused with tp > 1, as are rules without "split". A stack's
 *    "along" (no heads) says the same of each expert's parts. With ep > 1 a rank has some experts
 *    only (struct wload_plan_options), but those leaves of all experts that "every_rank" lists.
 * 6. weight_scale and weight_scale_inv are scales of the "weight" beside them, and are split where
 *    that is, in blocks: of WLOAD_SCALE_BLOCK elements, unless the sizes are equal, or one is
 *    another multiple of the other. A rank's share must begin and end with a block, or at the
 *    end. A scale whose dimension is 1 is whole there.
 * 7. A rule that has a "layout" is for that one only.
 * 8. A tied rule leaves "skip" out of the plan when config.json's flag "when" (at the top, else
 *    in "text_config", else "default", which defaults to false) is true, and the checkpoint has
 *    "copy_of" or the rule names none.
 * 9. An "experts" rule says that the tensor [PREFIX.]within.tensor holds those parts of all experts
 *    that stack rules of the same "within" join, [experts, rows, columns…]: a part of expert E is
 *    then a tensor [PREFIX.]within.E.part.leaf, of an equal share of the rows, one part's behind
 *    the other's or, "interleaved", one of each in turn. Of "transposed" they are columns.
 *    Dimensions past the third are part of the columns.
 * 10. A rule of "also" makes of one part of what a fuse rule of the same "within" joined one more
 *    parameter: [PREFIX.]within.into of its "weight", within.into_REST of leaves weight_REST, and
 *    within.into_LEAF of others; of shape [each, rows / each, columns…], or where it says
 *    "transpose" [each, columns, rows / each]. It is not made, and the note says so, when "each"
 *    does not divide the rows, elements that share a byte would change places, or the checkpoint
 *    has the name. By these rules alone a tensor is in several parameters.
 * 11. No rule but those of "tied" is for modules that are "apart", anywhere in a name: their
 *    tensors stay, and every rank has all of them.
 * 12. "family" and "model_types" are required, and of a rule all but "leaves", "layout", "each" (of
 *    a packed rule), "transpose", "interleaved", "transposed", "head", "divisor", "every_rank",
 *    "requantise", "default" and "copy_of". Values are non-empty and lists have no value twice
 *    ("shares" and "head" may); "into", "from", "module", "tensor", "leaf" and "parts" are
 *    components without dots; no two rules of one layout make the same name or split the same
 *    module. Limits: 64 KiB of text, 255 bytes a string, 64 elements in "model_types", "modules",
 *    "apart" and each list of rules, 16 in "from" (at least 2, of a stack 1), "parts" and
 *    "leaves", 4 in "head", 4096 experts.
 * 13. Where each part is quantised with one value of its own, the joined parameter has one for all
 *    of it, of shape [], as TensorRT-LLM makes them: the parts' values are merged, and weights that
 *    then have another value than before made anew. Values are F32 or BF16, of shape [] or [1];
 *    weight_scale of F8_E4M3 is F32 (else the values stay, as 3 says).
 *
 *      weight      told by         of a fuse rule                   of a stack
 *      U8 (NVFP4)  weight_scale_2  weight_scale_2 and input_scale   weight_scale_2 the largest of
 *                                  are equal in all parts, or the   an expert's parts, [experts];
 *                                  load fails; with "requantise"    input_scale that of all
 *                                  the largest, and weight and      experts, []; the others as
 *                                  weight_scale are made anew       they are
 *      F8_E4M3     weight_scale    weight_scale and input_scale     weight_scale as above, weight
 *                                  the largest, weight made anew    anew; input_scale as above
 *
 *    "All experts" are those that the rank has of the leaf: with ep, list it in "every_rank". A
 *    value that is the only one is placed.
 * 14. Conversions (struct wload_plan_options) are made of parameters as they were laid down by all
 *    of this, in this order:
 *
 *      dequantise  A weight with NAME_scale, NAME_scale_inv or NAME_weight_scale beside it
 *                  becomes numbers of `dtype`, or BF16: F8_E4M3 with scales of F32 or BF16, for
 *                  blocks (6), rows, or all of it; U8 with F8_E4M3 for 16 elements and an F32
 *                  NAME_scale_2 (NVFP4); U8 with U8 for 32 elements (MXFP4). Of two elements in a
 *                  byte the low half comes first. Each part is scaled by its own value. The scales
 *                  are no parameters then, and an input_scale is unused. Other weights that have
 *                  scales, and F8_E4M3 without, are refused.
 *      swizzle     NVFP4's weight_scale is padded with zeros to 128 rows and 4 columns, that of
 *                  each expert by itself, and tiled: row r and column c are byte
 *                  r % 32 * 16 + r % 128 / 32 * 4 + c % 4 of tile [r / 128, c / 4], which are 512
 *                  bytes each. Its shape is the padded one. Not together with dequantise.
 *      dtype       BF16, F16 and F32 become that. Scales, input_scale, k_scale and the like do not,
 *                  nor does e_score_correction_bias: routers add it in F32. */

#include "wloadfs/tensor.h"
#include "wloadfs/transform.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of one tensor and where they go in a parameter.
 *
 *   tensor     ..[piece 0]........[piece 1]........[piece 2]...
 *                |<- src_stride ->|
 *   parameter  [piece 0][piece 1][piece 2]
 *
 * A column split is one piece, a row split one of each row of the tensor. Pieces are equally long,
 * bytes / rows, and lie one behind the other in the parameter. One parameter may have several
 * sources of one tensor; they follow each other. */
struct wload_source {
	uint32_t tensor;     /* index in the inventory */
	uint32_t rows;	     /* pieces, at least 1 */
	uint64_t src_offset; /* of the first piece, from the tensor's first byte */
	uint64_t src_stride; /* from a piece's first byte to the next's; 0 when there is one */
	uint64_t dst_offset; /* from the parameter's first byte */
	uint64_t bytes;	     /* of all pieces */
};

struct wload_param {
	const char *name; /* modified UTF-8, as in tensor.h */
	const uint64_t *shape;
	uint32_t rank;
	enum wload_dtype dtype;
	uint64_t bytes;

	/* By dst_offset, covering all bytes once; with steps their dst_offset is one in the staging
	 * area, which they need not fill, and do not overlap in. */
	const struct wload_source *sources;
	uint32_t source_count; /* empty tensors have a source too, of 0 bytes */
	uint32_t step_count;   /* 0: the sources are the parameter */
	const struct wload_step *steps;
	uint64_t source_bytes; /* of all sources together */
	uint64_t staged_bytes; /* of the staging area; 0 without steps */
	bool zeroed;	       /* the parameter begins as zeros, steps write some of it */
};

/* The rules of one family, or all that are compiled in. Immutable: any thread may use them. */
struct wload_rules;

/* The rules that are compiled in; static, freeing them does nothing. */
WLOAD_API const struct wload_rules *wload_rules_builtin(void);

/* Parses the rules of one family from JSON text.
 *
 * what  names the text in messages (a path)
 *
 * Returns 0, -EBADMSG when it is not JSON or breaks the format above, -E2BIG over one of its limits
 * (both name the field and the value), or -ENOMEM. */
WLOAD_API int wload_rules_parse(const char *text, size_t text_len, const char *what,
				struct wload_rules **ret_rules, struct wload_error *err);

/* Reads and parses a rules file. Returns as wload_rules_parse(), or what the system said. */
WLOAD_API int wload_rules_load(const char *path, struct wload_rules **ret_rules,
			       struct wload_error *err);

/* NULL is fine. No plan that was built needs them any more. */
WLOAD_API void wload_rules_free(struct wload_rules *rules);

struct wload_plan;

/* The most ranks that a plan is made for. */
#define WLOAD_TP_MAX 1024

/* Elements of a weight, in each dimension, for one value of its scale, unless the shapes tell
 * another number (DeepSeek's "weight_block_size"). */
#define WLOAD_SCALE_BLOCK 128

/* Whose names and orders parameters have, where engines differ. */
enum wload_layout {
	WLOAD_LAYOUT_TRTLLM, /* TensorRT-LLM: of an expert up's rows, then gate's; … */
	WLOAD_LAYOUT_VLLM,   /* vLLM: gate's, then up's; … */
	WLOAD_LAYOUT_COUNT
};

/* "trtllm", "vllm"; NULL past the last. */
WLOAD_API const char *wload_layout_name(enum wload_layout layout);

/* Which parameters there are.
 *
 * With WLOAD_NAMES_HF nothing is joined: each tensor is a parameter of its own name, data type and
 * order of elements. A rank has of it what it has of the logical parts that it holds: of a packed
 * module each part's share, of experts those that it has, cut along what their stack is. Tied
 * tensors are left out as ever. */
enum wload_names {
	WLOAD_NAMES_FUSED, /* those that the rules make */
	WLOAD_NAMES_HF,	   /* the checkpoint's own tensors, each the rank's part of it */
	WLOAD_NAMES_COUNT
};

/* What is wanted of a plan; all zero: everything, by the built-in rules. */
struct wload_plan_options {
	/* wload_rules_builtin() or NULL: the family is chosen by the config's "model_type", or
	 * "text_config"."model_type" where the top has none; rules that the caller loaded apply
	 * whatever the model type is. Borrowed during the call. */
	const struct wload_rules *rules;
	uint32_t tp;   /* tensor-parallel ranks; 0 or 1: one, which has everything */
	uint32_t rank; /* which of them, from 0 */

	/* Among how many ranks the experts of a stack are shared out, a divisor of tp; 0 or 1:
	 * every rank has a part of every expert. With more, rank r has those of share r % ep, each
	 * cut for tp / ep ranks, of which it is r / ep; all else is cut for tp. */
	uint32_t ep;
	enum wload_layout layout; /* 0: WLOAD_LAYOUT_TRTLLM */
	enum wload_names names;	  /* 0: WLOAD_NAMES_FUSED */

	/* Conversions, by steps (14). */
	bool dequantise;	/* quantised weights become numbers of `dtype`, or of BF16 */
	bool swizzle;		/* NVFP4's weight_scale in tiles of 128 rows and 4 columns; not with
				 * dequantise */
	enum wload_dtype dtype; /* of all numbers: BF16, F16, F32; 0: each keeps its own */
};

/* Builds the plan of one rank.
 *
 * inv      must outlive the plan
 * config   text of config.json, NULL when there is none; read as Python does (NaN passes)
 * options  NULL: all zero
 *
 * An unknown architecture (no config, no "model_type", or no rule for it) gives one parameter a
 * tensor, and a note. With one rank a checkpoint is never refused for what its tensors are: what
 * can't be joined stays as it is, with a note; and every byte of a tensor is in one parameter once,
 * and in those that rules of "also" make, or the tensor unused. With several, what no rule can
 * split right is refused, naming it. A rank's part may be empty: then the parameter has a dimension
 * of 0 and no bytes. Parameters come in the disk order of their first source.
 *
 * Returns 0, or
 *   -EBADMSG     config.json is not a JSON object
 *   -EINVAL      rank is not below tp; ep does not divide tp, or a stack's experts; there is no
 *                such layout, names or dtype; both dequantise and swizzle; or a dimension can't be
 *                split for tp ranks (heads that tp does not divide, shares that are no whole blocks
 *                of a scale, parts of a joined parameter that are not split alike)
 *   -EOPNOTSUPP  tp > 1, and no rules for the architecture, or they have no "split" or do not say
 *                how a tensor is split; ep > 1, and they stack nothing; or a part would begin
 *                inside a byte, or a scale's sizes tell no blocks; or a parameter can't be
 *                converted
 *   -E2BIG       tp over WLOAD_TP_MAX, config.json over 16 MiB, the parameters over 2^64 bytes,
 *                a tensor's part 2^32 pieces or more
 *   -ENOMEM. */
WLOAD_API int wload_plan_build(const struct wload_inventory *inv, const char *config,
			       const struct wload_plan_options *options,
			       struct wload_plan **ret_plan, struct wload_error *err);

WLOAD_API void wload_plan_free(struct wload_plan *plan);

WLOAD_API uint32_t wload_plan_count(const struct wload_plan *plan);
WLOAD_API const struct wload_param *wload_plan_param(const struct wload_plan *plan, uint32_t index);

/* Sum of all parameters' bytes. */
WLOAD_API uint64_t wload_plan_bytes(const struct wload_plan *plan);

/* How many ranks there are (at least 1), and which this plan is of. */
WLOAD_API uint32_t wload_plan_tp(const struct wload_plan *plan);
WLOAD_API uint32_t wload_plan_rank(const struct wload_plan *plan);

/* Among how many ranks experts are shared out (at least 1), and the layout. */
WLOAD_API uint32_t wload_plan_ep(const struct wload_plan *plan);
WLOAD_API enum wload_layout wload_plan_layout(const struct wload_plan *plan);

/* How many parameters of this rank need a tensor, or some of it. */
WLOAD_API uint32_t wload_plan_uses(const struct wload_plan *plan, uint32_t tensor);

/* Whether no rank needs it: the rules leave it out. An expert of another rank is not unused. */
WLOAD_API bool wload_plan_unused(const struct wload_plan *plan, uint32_t tensor);

/* The family whose rules were used ("llama"), or "none". */
WLOAD_API const char *wload_plan_family(const struct wload_plan *plan);

/* One line for the user where the plan has something to say, or NULL: an unknown architecture, or
 * the first group of tensors that a rule found and could not join, and how many more there are. */
WLOAD_API const char *wload_plan_note(const struct wload_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
