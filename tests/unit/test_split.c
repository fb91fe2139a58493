/* SPDX-License-Identifier: Apache-2.0 */
/* What one rank of several has: rows that show each rule and each refusal, then all ranks of small
 * checkpoints together, which must have each byte of a tensor equally often. */

#include <errno.h>
#include <stdarg.h>

#include "loader/base/cleanup.h"
#include "plan_pieces.h"
#include "plan_world.h"
#include "tap.h"

#define HEADS(q, kv)                                                    \
	"{\"model_type\": \"llama\", \"num_attention_heads\": " #q ", " \
	"\"num_key_value_heads\": " #kv "}"
#define NUMBERS(x) "{\"model_type\": \"llama\", " x "}"
#define RULES(fuse, split) \
	"{\"family\": \"mine\", \"model_types\": [\"m\"], " fuse "\"split\": [" split "]}"
#define ALONG(m, how) "{\"modules\": [\"" m "\"], \"along\": \"" how "\"}"
#define FUSE_QK	      "\"fuse\": [{\"into\": \"qk\", \"from\": [\"q\", \"k\"], \"within\": \"a\"}], "

struct row {
	const char *name;
	const char *config; /* NULL: none */
	const char *rules;  /* NULL: built in */
	const char *tensors;
	uint32_t tp, rank;
	const char *want; /* a line a parameter; of a refusal part of the message */
	int code;	  /* of a refusal */
};

static const struct row slices[] = {
	{"column: rows of dimension 0, one piece", NULL, RULES("", ALONG("a.up", "column")),
	 "l.a.up.weight BF16 [6,4]\n", 3, 1, "l.a.up.weight BF16 [2,4] = l.a.up.weight@16+16\n", 0},
	{"column: a bias", NULL, RULES("", ALONG("a.up", "column")), "a.up.bias F32 [6]\n", 2, 1,
	 "a.up.bias F32 [3] = a.up.bias@12+12\n", 0},
	{"column: shares are rounded up, the last is short", NULL, RULES("", ALONG("u", "column")),
	 "u.weight U8 [10,2]\n", 4, 3, "u.weight U8 [1,2] = u.weight@18+2\n", 0},
	{"column: the last share is empty", NULL, RULES("", ALONG("u", "column")),
	 "u.weight U8 [9,2]\n", 8, 5, "u.weight U8 [0,2] = u.weight@0+0\n", 0},
	{"column: a share beyond the end is empty", NULL, RULES("", ALONG("u", "column")),
	 "u.weight U8 [2,2]\n", 8, 7, "u.weight U8 [0,2] = u.weight@0+0\n", 0},
	{"column: one row is whole", NULL, RULES("", ALONG("u", "column")), "u.weight U8 [1,6]\n",
	 3, 2, "u.weight U8 [1,6] = u.weight@0+6\n", 0},
	{"column: an empty tensor", NULL, RULES("", ALONG("u", "column")), "u.weight U8 [4,0]\n", 2,
	 1, "u.weight U8 [2,0] = u.weight@0+0\n", 0},
	{"column: three dimensions", NULL, RULES("", ALONG("u", "column")),
	 "u.weight F16 [4,3,2]\n", 2, 1, "u.weight F16 [2,3,2] = u.weight@24+24\n", 0},
	{"row: a piece of each row", NULL, RULES("", ALONG("d", "row")), "d.weight BF16 [3,8]\n", 4,
	 1, "d.weight BF16 [3,2] = d.weight@4+12*3/16\n", 0},
	{"row: a tensor of one row is one piece", NULL, RULES("", ALONG("d", "row")),
	 "d.weight BF16 [1,8]\n", 4, 3, "d.weight BF16 [1,2] = d.weight@12+4\n", 0},
	{"row: the last share is short", NULL, RULES("", ALONG("d", "row")), "d.weight U8 [2,5]\n",
	 3, 2, "d.weight U8 [2,1] = d.weight@4+2*2/5\n", 0},
	{"row: the last share is empty", NULL, RULES("", ALONG("d", "row")), "d.weight U8 [2,5]\n",
	 4, 3, "d.weight U8 [2,0] = d.weight@0+0\n", 0},
	{"row: one dimension is whole", NULL, RULES("", ALONG("d", "row")), "d.bias U8 [6]\n", 2, 1,
	 "d.bias U8 [6] = d.bias@0+6\n", 0},
	{"row: one column is whole", NULL, RULES("", ALONG("d", "row")), "d.weight U8 [6,1]\n", 2,
	 1, "d.weight U8 [6,1] = d.weight@0+6\n", 0},
	{"row: three dimensions", NULL, RULES("", ALONG("d", "row")), "d.weight U8 [2,4,3]\n", 2, 1,
	 "d.weight U8 [2,2,3] = d.weight@6+12*2/12\n", 0},
	{"vocab: as column", NULL, RULES("", ALONG("e", "vocab")), "m.e.weight U8 [5,2]\n", 2, 1,
	 "m.e.weight U8 [2,2] = m.e.weight@6+4\n", 0},
	{"whole: every rank has it", NULL, RULES("", ALONG("g", "whole")), "m.g.weight U8 [5,2]\n",
	 2, 1, "m.g.weight U8 [5,2] = m.g.weight@0+10\n", 0},
	{"4 bits: where parts begin at bytes", NULL, RULES("", ALONG("d", "row")),
	 "d.weight F4 [3,8]\n", 2, 1, "d.weight F4 [3,4] = d.weight@2+6*3/4\n", 0},
	{"one element is whole, whatever its leaf", NULL, RULES("", ALONG("d", "column")),
	 "d.weight_scale F32 []\nd.input_scale F32 [1]\nd.x F32 [1,1]\n", 2, 1,
	 "d.weight_scale F32 [] = d.weight_scale@0+4\nd.input_scale F32 [1] = d.input_scale@0+4\n"
	 "d.x F32 [1,1] = d.x@0+4\n",
	 0},
	{"leaves: a scale of each row is split with it", NULL,
	 RULES("", "{\"modules\": [\"u\"], \"along\": \"column\", \"leaves\": [\"w\", \"s\"]},"
		   "{\"modules\": [\"d\"], \"along\": \"row\", \"leaves\": [\"w\", \"s\"]}"),
	 "u.w U8 [4,2]\nu.s F32 [4,1]\nd.w U8 [4,2]\nd.s F32 [4,1]\n", 2, 1,
	 "u.w U8 [2,2] = u.w@4+4\nu.s F32 [2,1] = u.s@8+8\n"
	 "d.w U8 [4,1] = d.w@1+4*4/2\nd.s F32 [4,1] = d.s@0+16\n",
	 0},
	{"no rule: one dimension is whole", NULL, RULES("", ALONG("d", "row")),
	 "norm.weight U8 [6]\n", 2, 1, "norm.weight U8 [6] = norm.weight@0+6\n", 0},
	{"names: whole components, and the longest module", NULL,
	 RULES("", ALONG("mlp", "column") ", " ALONG("mlp.down", "row") ", " ALONG(
			   "xmlp", "whole") ", " ALONG("mlp2", "whole")),
	 "0.mlp.down.weight U8 [2,2]\n0.mlp.weight U8 [2,2]\n0.xmlp.weight U8 [2,2]\n"
	 "0.mlp2.weight U8 [2,2]\n",
	 2, 1,
	 "0.mlp.down.weight U8 [2,1] = 0.mlp.down.weight@1+2*2/2\n"
	 "0.mlp.weight U8 [1,2] = 0.mlp.weight@2+2\n0.xmlp.weight U8 [2,2] = 0.xmlp.weight@0+4\n"
	 "0.mlp2.weight U8 [2,2] = 0.mlp2.weight@0+4\n",
	 0},
	{"names: the module that begins first", NULL,
	 RULES("", ALONG("vision", "whole") ", " ALONG("q", "column")),
	 "vision.0.q.weight U8 [2,2]\n", 2, 1,
	 "vision.0.q.weight U8 [2,2] = vision.0.q.weight@0+4\n", 0},
	{"one rank: everything is whole, whatever the rules lack", NULL,
	 RULES("", ALONG("d", "row")), "x.weight U8 [2,2]\nd.weight_scale U8 [2,2]\n", 1, 0,
	 "x.weight U8 [2,2] = x.weight@0+4\nd.weight_scale U8 [2,2] = d.weight_scale@0+4\n", 0},
};

#define QKV                                     \
	"l.self_attn.q_proj.weight U8 [16,2]\n" \
	"l.self_attn.k_proj.weight U8 [8,2]\n"  \
	"l.self_attn.v_proj.weight U8 [8,2]\n"
#define Q16 "l.self_attn.q_proj.weight U8 [16,2]\n"
#define K8  "l.self_attn.k_proj.weight U8 [8,2]\n"

static const struct row heads[] = {
	{"each source is cut, then joined", HEADS(4, 2), NULL, QKV, 2, 1,
	 "l.self_attn.qkv_proj.weight U8 [16,2] = l.self_attn.q_proj.weight@16+16"
	 " + l.self_attn.k_proj.weight@8+8 + l.self_attn.v_proj.weight@8+8\n",
	 0},
	{"more ranks than key-value heads: each head goes to several", HEADS(4, 2), NULL, QKV, 4, 1,
	 "l.self_attn.qkv_proj.weight U8 [12,2] = l.self_attn.q_proj.weight@8+8"
	 " + l.self_attn.k_proj.weight@0+8 + l.self_attn.v_proj.weight@0+8\n",
	 0},
	{"the next ranks have the next head", HEADS(4, 2), NULL, QKV, 4, 2,
	 "l.self_attn.qkv_proj.weight U8 [12,2] = l.self_attn.q_proj.weight@16+8"
	 " + l.self_attn.k_proj.weight@8+8 + l.self_attn.v_proj.weight@8+8\n",
	 0},
	{"biases go by heads, not by elements", HEADS(4, 2), NULL,
	 "l.self_attn.q_proj.bias F16 [16]\nl.self_attn.k_proj.bias F16 [8]\n"
	 "l.self_attn.v_proj.bias F16 [8]\n",
	 4, 3,
	 "l.self_attn.qkv_proj.bias F16 [12] = l.self_attn.q_proj.bias@24+8"
	 " + l.self_attn.k_proj.bias@8+8 + l.self_attn.v_proj.bias@8+8\n",
	 0},
	{"one key-value head for all", HEADS(8, 1), NULL, K8, 8, 7,
	 "l.self_attn.k_proj.weight U8 [8,2] = l.self_attn.k_proj.weight@0+16\n", 0},
	{"three ranks", HEADS(6, 3), NULL, "self_attn.k_proj.weight U8 [12,1]\n", 3, 2,
	 "self_attn.k_proj.weight U8 [4,1] = self_attn.k_proj.weight@8+4\n", 0},
	{"numbers of text_config",
	 "{\"text_config\": {\"model_type\": \"llama\", \"num_attention_heads\": 4,"
	 " \"num_key_value_heads\": 2, \"head_dim\": 4}}",
	 NULL, K8, 2, 1, "l.self_attn.k_proj.weight U8 [4,2] = l.self_attn.k_proj.weight@8+8\n", 0},
	{"no number of key-value heads: as many as there are heads",
	 NUMBERS("\"num_attention_heads\": 8, \"num_key_value_heads\": null, \"hidden_size\": 8"),
	 NULL, K8, 2, 1, "l.self_attn.k_proj.weight U8 [4,2] = l.self_attn.k_proj.weight@8+8\n", 0},
	{"that guess must fit the size of a head",
	 NUMBERS("\"num_attention_heads\": 8, \"hidden_size\": 32"), NULL, K8, 2, 1,
	 "tensor 'l.self_attn.k_proj.weight' has dimension 0 of 8, which is not the 8 heads of "
	 "config.json ('num_attention_heads'), of 4 rows each",
	 EINVAL},
	{"that guess needs the size of a head", NUMBERS("\"num_attention_heads\": 8"), NULL, K8, 2,
	 1, "tells neither 'head_dim' nor 'num_key_value_heads'", EINVAL},
	{"heads that tp does not divide", HEADS(8, 4), NULL, Q16, 3, 1,
	 "rank 1 of 3: tensor 'l.self_attn.q_proj.weight' has dimension 0 of 16: 8 heads "
	 "('num_attention_heads'), of which 3 is no divisor",
	 EINVAL},
	{"more ranks than heads", HEADS(8, 4), NULL, Q16, 16, 1, "of which 16 is no divisor",
	 EINVAL},
	{"key-value heads: neither divisor nor multiple", HEADS(8, 4), NULL, K8, 6, 1,
	 "4 heads ('num_key_value_heads'), of which 6 is no divisor and no multiple", EINVAL},
	{"rows that are not of whole heads", HEADS(8, 3), NULL, K8, 3, 1,
	 "has dimension 0 of 8, which is not the 3 heads of config.json", EINVAL},
	{"heads of another size than config.json's",
	 NUMBERS("\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 4"), NULL,
	 K8, 2, 1, "not the 4 heads of config.json ('num_key_value_heads'), of 4 rows each",
	 EINVAL},
	{"no number of heads", NUMBERS("\"head_dim\": 4"), NULL, Q16, 2, 1,
	 "has dimension 0 of 16, split by heads, and config.json tells no number as "
	 "'num_attention_heads'",
	 EINVAL},
	{"a number of heads that is none", NUMBERS("\"num_attention_heads\": -1"), NULL, Q16, 2, 1,
	 "config.json has no whole number from 1 to 2^32 - 1 as 'num_attention_heads'", EINVAL},
	{"a number of key-value heads that is none, where the default would do",
	 NUMBERS("\"num_attention_heads\": 4, \"num_key_value_heads\": 0, \"head_dim\": 2"), NULL,
	 K8, 2, 1, "config.json has no whole number from 1 to 2^32 - 1 as 'num_key_value_heads'",
	 EINVAL},
	{"a size of heads that is none",
	 NUMBERS("\"num_attention_heads\": 8, \"head_dim\": \"16\""), NULL, Q16, 2, 1,
	 "config.json has no whole number from 1 to 2^32 - 1 as 'head_dim'", EINVAL},
	{"a size of heads over 2^32",
	 NUMBERS("\"num_attention_heads\": 8, \"head_dim\": 18446744073709551618"), NULL, Q16, 2, 1,
	 "config.json has no whole number from 1 to 2^32 - 1 as 'head_dim'", EINVAL},
	{"a number of heads that is a string", NUMBERS("\"num_attention_heads\": \"8\""), NULL, Q16,
	 2, 1, "config.json has no whole number from 1 to 2^32 - 1 as 'num_attention_heads'",
	 EINVAL},
	{"no config at all", NULL, RULES("", ALONG("q", "heads")), "q.weight U8 [4,2]\n", 2, 1,
	 "tells no number", EINVAL},
};

static const struct row families[] = {
	{"llama: all of a layer", HEADS(4, 2), NULL,
	 "model.embed_tokens.weight U8 [5,2]\n"
	 "model.layers.0.input_layernorm.weight U8 [2]\n" K8 "l.mlp.down_proj.weight U8 [2,6]\n"
	 "l.mlp.gate_proj.weight U8 [6,2]\n"
	 "l.mlp.up_proj.weight U8 [6,2]\n"
	 "l.self_attn.o_proj.weight U8 [2,16]\n"
	 "lm_head.weight U8 [5,2]\n",
	 2, 1,
	 "model.embed_tokens.weight U8 [2,2] = model.embed_tokens.weight@6+4\n"
	 "model.layers.0.input_layernorm.weight U8 [2] = "
	 "model.layers.0.input_layernorm.weight@0+2\n"
	 "l.self_attn.k_proj.weight U8 [4,2] = l.self_attn.k_proj.weight@8+8\n"
	 "l.mlp.down_proj.weight U8 [2,3] = l.mlp.down_proj.weight@3+6*2/6\n"
	 "l.mlp.gate_up_proj.weight U8 [6,2] = l.mlp.gate_proj.weight@6+6"
	 " + l.mlp.up_proj.weight@6+6\n"
	 "l.self_attn.o_proj.weight U8 [2,8] = l.self_attn.o_proj.weight@8+16*2/16\n"
	 "lm_head.weight U8 [2,2] = lm_head.weight@6+4\n",
	 0},
	{"qwen3: norms of heads are whole",
	 "{\"model_type\": \"qwen3\", \"num_attention_heads\": 4, \"num_key_value_heads\": 2}",
	 NULL, "l.self_attn.q_norm.weight U8 [4]\n" K8, 2, 0,
	 "l.self_attn.q_norm.weight U8 [4] = l.self_attn.q_norm.weight@0+4\n"
	 "l.self_attn.k_proj.weight U8 [4,2] = l.self_attn.k_proj.weight@0+8\n",
	 0},
	{"tied: the head that is left out hinders nothing",
	 NUMBERS("\"tie_word_embeddings\": true"), NULL,
	 "model.embed_tokens.weight U8 [4,2]\nlm_head.weight U8 [4,2]\n", 2, 1,
	 "model.embed_tokens.weight U8 [2,2] = model.embed_tokens.weight@4+4\n", 0},
	{"joined, an uneven share of each", NULL,
	 RULES(FUSE_QK, ALONG("q", "column") ", " ALONG("k", "column")),
	 "a.q.weight U8 [5,2]\na.k.weight U8 [2,2]\n", 4, 2,
	 "a.qk.weight U8 [1,2] = a.q.weight@8+2 + a.k.weight@0+0\n", 0},
	{"joined, one whole", NULL, RULES(FUSE_QK, ALONG("q", "column") ", " ALONG("k", "whole")),
	 "a.q.weight U8 [4,2]\na.k.weight U8 [2,2]\n", 2, 1,
	 "a.qk.weight U8 [4,2] = a.q.weight@4+4 + a.k.weight@0+4\n", 0},
	{"joined along rows that were cut", NULL,
	 RULES(FUSE_QK, ALONG("q", "row") ", " ALONG("k", "row")),
	 "a.q.weight U8 [2,4]\na.k.weight U8 [1,4]\n", 2, 1,
	 "a.qk.weight U8 [3,2] = a.q.weight@2+4*2/4 + a.k.weight@2+2\n", 0},
};

static const struct row refused[] = {
	{"joined, but not cut alike", NULL,
	 RULES(FUSE_QK, ALONG("q", "column") ", " ALONG("k", "row")),
	 "a.q.weight U8 [4,4]\na.k.weight U8 [4,4]\n", 2, 1,
	 "rank 1 of 2: tensor 'a.k.weight' has dimension 1 of 2, what it is joined to in "
	 "'a.qk.weight' has 4",
	 EINVAL},
	{"quantised: a leaf that the rules do not know", HEADS(4, 2), NULL,
	 K8 "l.self_attn.k_proj.qzeros F32 [2,1]\n", 2, 0,
	 "rank 0 of 2: tensor 'l.self_attn.k_proj.qzeros' is of a module that is split "
	 "along 'kv_heads', and the rules of 'llama' do not say how 'qzeros' is",
	 EOPNOTSUPP},
	{"a weight that no rule names", HEADS(4, 2), NULL,
	 "l.mlp.experts.0.up_proj.weight U8 [2,2]\n", 2, 0,
	 "tensor 'l.mlp.experts.0.up_proj.weight' has 2 dimensions, and no split rule of 'llama' "
	 "names it",
	 EOPNOTSUPP},
	{"4 bits: a part that begins inside a byte", NULL, RULES("", ALONG("d", "row")),
	 "d.weight F4 [2,6]\n", 2, 1,
	 "has dimension 1 of 6 in F4, of which 3 from 3 are no whole bytes", EOPNOTSUPP},
	{"6 bits: rows that are not whole bytes", NULL, RULES("", ALONG("d", "column")),
	 "d.weight F6_E2M3 [4,2]\n", 4, 0, "dimension 0 of 4 in F6_E2M3", EOPNOTSUPP},
	{"rank past the last", HEADS(4, 2), NULL, K8, 2, 2, "rank 2 is not one of 2", EINVAL},
	{"rank without tp", HEADS(4, 2), NULL, K8, 0, 1, "rank 1 is not one of 1", EINVAL},
	{"too many ranks", HEADS(4, 2), NULL, K8, 1025, 0, "1025 ranks are over our limit of 1024",
	 E2BIG},
	{"an unknown architecture", "{\"model_type\": \"wavenet\"}", NULL, K8, 2, 1,
	 "no rules for model type 'wavenet', so what rank 1 of 2 has is unknown", EOPNOTSUPP},
	{"no config.json", NULL, NULL, K8, 2, 1, "no config.json could be read, so what rank 1",
	 EOPNOTSUPP},
	{"rules that do not split", NULL, "{\"family\": \"mine\", \"model_types\": [\"m\"]}", K8, 2,
	 1, "the rules of 'mine' have no 'split', so what rank 1 of 2 has is unknown", EOPNOTSUPP},
};

static void check_row(struct tap *tap, const char *of, const struct row *row)
{
	struct wload_inventory *inv = world_inventory(row->tensors);
	struct wload_plan_options options = {.tp = row->tp, .rank = row->rank};
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	struct wload_error err = {0};
	char *got CLEANUP_FREE = NULL;
	const char *wrong = NULL;
	bool pass;
	int r = 0;

	if (row->rules)
		r = wload_rules_parse(row->rules, strlen(row->rules), "row", &rules, &err);
	options.rules = rules;
	if (r == 0)
		r = wload_plan_build(inv, row->config, &options, &plan, &err);
	wload_rules_free(rules);
	if (r == 0) {
		got = pieces_text(inv, plan);
		wrong = pieces_wrong(inv, plan);
		pass = row->code == 0 && !wrong && !strcmp(got, row->want) &&
		       wload_plan_tp(plan) == (row->tp ? row->tp : 1) &&
		       wload_plan_rank(plan) == row->rank;
	} else {
		pass = row->code == -r && !plan && strstr(err.text, row->want);
	}
	if (!ok(tap, pass, "%s: %s", of, row->name))
		printf("# %d %s\n%s# wanted: %d\n%s\n# %s\n", r, err.text, got ? got : "",
		       row->code, row->want, wrong ? wrong : "");
	wload_plan_free(plan);
	inventory_free(inv);
}

/* ---- all ranks together ---------------------------------------------------------------------- */

#define BYTES_MAX 4096 /* of the small world */

static void count_bytes(const struct wload_inventory *inv, const struct wload_plan *plan,
			unsigned int *times)
{
	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *p = wload_plan_param(plan, i);

		for (const struct wload_source *s = p->sources; s < p->sources + p->source_count;
		     s++)
			for (uint64_t b = 0; b < s->bytes; b++) {
				uint64_t piece = s->bytes / s->rows;

				times[wload_inventory_tensor(inv, s->tensor).offset +
				      s->src_offset + b / piece * s->src_stride + b % piece]++;
			}
	}
}

/* How often the ranks have a tensor; 0: not every byte equally often. */
static unsigned int evenly(const struct wload_tensor *t, const unsigned int *times)
{
	for (uint64_t b = 1; b < t->bytes; b++)
		if (times[t->offset + b] != times[t->offset])
			return 0;
	return times[t->offset];
}

static void check_all_ranks(struct tap *tap, uint32_t tp)
{
	static const char tensors[] = "model.embed_tokens.weight U8 [13,6]\n"
				      "model.layers.0.self_attn.q_proj.weight BF16 [48,6]\n"
				      "model.layers.0.self_attn.k_proj.weight BF16 [24,6]\n"
				      "model.layers.0.self_attn.v_proj.weight BF16 [24,6]\n"
				      "model.layers.0.self_attn.o_proj.weight BF16 [6,48]\n"
				      "model.layers.0.mlp.gate_proj.weight BF16 [17,6]\n"
				      "model.layers.0.mlp.up_proj.weight BF16 [17,6]\n"
				      "model.layers.0.mlp.down_proj.weight BF16 [6,17]\n"
				      "model.norm.weight BF16 [6]\n";
	static const uint32_t kv_heads = 6;
	struct wload_inventory *inv = world_inventory(tensors);
	unsigned int times[BYTES_MAX] = {0};
	struct wload_error err = {0};
	const char *wrong = NULL;

	for (uint32_t rank = 0; rank < tp && !wrong; rank++) {
		struct wload_plan_options options = {.tp = tp, .rank = rank};
		struct wload_plan *plan = NULL;

		if (wload_plan_build(inv, HEADS(24, 6), &options, &plan, &err) < 0)
			wrong = err.text;
		else
			wrong = pieces_wrong(inv, plan);
		if (!wrong)
			count_bytes(inv, plan, times);
		wload_plan_free(plan);
	}
	for (uint32_t i = 0; i < wload_inventory_count(inv) && !wrong; i++) {
		struct wload_tensor t = wload_inventory_tensor(inv, i);
		unsigned int want = 1;

		if (strstr(t.name, "norm"))
			want = tp;
		else if (tp > kv_heads && (strstr(t.name, "k_proj") || strstr(t.name, "v_proj")))
			want = tp / kv_heads;
		if (evenly(&t, times) != want)
			wrong = t.name;
	}
	ok(tap, !wrong, "all ranks: %u of them have every byte equally often (%s)", tp,
	   wrong ? wrong : "");
	inventory_free(inv);
}

int main(void)
{
	static const struct {
		const char *name;
		const struct row *rows;
		size_t count;
	} tables[] = {
		{"slice", slices, sizeof(slices) / sizeof(*slices)},
		{"heads", heads, sizeof(heads) / sizeof(*heads)},
		{"family", families, sizeof(families) / sizeof(*families)},
		{"refused", refused, sizeof(refused) / sizeof(*refused)},
	};
	static const uint32_t tps[] = {1, 2, 3, 6, 12, 24};
	struct tap tap = {0};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (size_t j = 0; j < tables[i].count; j++)
			check_row(&tap, tables[i].name, &tables[i].rows[j]);
	for (size_t i = 0; i < sizeof(tps) / sizeof(*tps); i++)
		check_all_ranks(&tap, tps[i]);
	return tap_done(&tap);
}
