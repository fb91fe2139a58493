/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of small checkpoints, written out as text and compared with what they should be; and of
 * every one of them: its sources tile its parameters, and each tensor is used once or not at all.
 */

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <time.h>

#include "loader/base/cleanup.h"
#include "plan_world.h"
#include "tap.h"

struct row {
	const char *name;
	const char *config; /* NULL: none */
	const char *rules;  /* NULL: built in */
	const char *tensors;
	const char *want;   /* a line a parameter: NAME DTYPE [shape] = SOURCE + SOURCE … */
	const char *family; /* NULL: "none" */
	const char *note;   /* part of it; NULL: no note */
	const char *unused; /* the names, a line each; NULL: none */
};

#define LLAMA	   "{\"model_type\": \"llama\"}"
#define QWEN3	   "{\"model_type\": \"qwen3\"}"
#define LLAMA_TIED "{\"model_type\": \"llama\", \"tie_word_embeddings\": true}"

#define LLAMA_HEADS \
	"{\"model_type\": \"llama\", \"num_attention_heads\": 8, \"num_key_value_heads\": 4}"

#define RULES(leaves)                                                                     \
	"{\"family\": \"mine\", \"model_types\": [\"m\"], \"fuse\": [{\"into\": \"qk\", " \
	"\"from\": [\"q\", \"k\"], \"within\": \"a\", \"leaves\": [" leaves "]}]}"

static const struct row families[] = {
	{"llama: grouped queries, parts out of order on disk", LLAMA, NULL,
	 "model.embed_tokens.weight BF16 [32,8]\n"
	 "model.layers.0.input_layernorm.weight BF16 [8]\n"
	 "model.layers.0.mlp.down_proj.weight BF16 [8,16]\n"
	 "model.layers.0.mlp.gate_proj.weight BF16 [16,8]\n"
	 "model.layers.0.mlp.up_proj.weight BF16 [16,8]\n"
	 "model.layers.0.self_attn.k_proj.weight BF16 [2,8]\n"
	 "model.layers.0.self_attn.o_proj.weight BF16 [8,8]\n"
	 "model.layers.0.self_attn.q_proj.weight BF16 [8,8]\n"
	 "model.layers.0.self_attn.v_proj.weight BF16 [2,8]\n"
	 "model.norm.weight BF16 [8]\n"
	 "lm_head.weight BF16 [32,8]\n",
	 "model.embed_tokens.weight BF16 [32,8] = model.embed_tokens.weight\n"
	 "model.layers.0.input_layernorm.weight BF16 [8] = model.layers.0.input_layernorm.weight\n"
	 "model.layers.0.mlp.down_proj.weight BF16 [8,16] = model.layers.0.mlp.down_proj.weight\n"
	 "model.layers.0.mlp.gate_up_proj.weight BF16 [32,8] = model.layers.0.mlp.gate_proj.weight"
	 " + model.layers.0.mlp.up_proj.weight\n"
	 "model.layers.0.self_attn.o_proj.weight BF16 [8,8] = "
	 "model.layers.0.self_attn.o_proj.weight\n"
	 "model.layers.0.self_attn.qkv_proj.weight BF16 [12,8] ="
	 " model.layers.0.self_attn.q_proj.weight + model.layers.0.self_attn.k_proj.weight"
	 " + model.layers.0.self_attn.v_proj.weight\n"
	 "model.norm.weight BF16 [8] = model.norm.weight\n"
	 "lm_head.weight BF16 [32,8] = lm_head.weight\n",
	 "llama", NULL, NULL},
	{"qwen2: biases are joined too, o_proj has none", "{\"model_type\": \"qwen2\"}", NULL,
	 "l.self_attn.q_proj.bias F16 [8]\n"
	 "l.self_attn.q_proj.weight F16 [8,4]\n"
	 "l.self_attn.k_proj.bias F16 [2]\n"
	 "l.self_attn.k_proj.weight F16 [2,4]\n"
	 "l.self_attn.v_proj.bias F16 [2]\n"
	 "l.self_attn.v_proj.weight F16 [2,4]\n"
	 "l.self_attn.o_proj.weight F16 [4,8]\n",
	 "l.self_attn.qkv_proj.bias F16 [12] = l.self_attn.q_proj.bias + l.self_attn.k_proj.bias"
	 " + l.self_attn.v_proj.bias\n"
	 "l.self_attn.qkv_proj.weight F16 [12,4] = l.self_attn.q_proj.weight"
	 " + l.self_attn.k_proj.weight + l.self_attn.v_proj.weight\n"
	 "l.self_attn.o_proj.weight F16 [4,8] = l.self_attn.o_proj.weight\n",
	 "qwen", NULL, NULL},
	{"qwen3: q_norm and k_norm stay", QWEN3, NULL,
	 "l.self_attn.q_norm.weight BF16 [4]\n"
	 "l.self_attn.k_norm.weight BF16 [4]\n"
	 "l.self_attn.q_proj.weight BF16 [8,4]\n"
	 "l.self_attn.k_proj.weight BF16 [4,4]\n"
	 "l.self_attn.v_proj.weight BF16 [4,4]\n",
	 "l.self_attn.q_norm.weight BF16 [4] = l.self_attn.q_norm.weight\n"
	 "l.self_attn.k_norm.weight BF16 [4] = l.self_attn.k_norm.weight\n"
	 "l.self_attn.qkv_proj.weight BF16 [16,4] = l.self_attn.q_proj.weight"
	 " + l.self_attn.k_proj.weight + l.self_attn.v_proj.weight\n",
	 "qwen", NULL, NULL},
	{"text_config: its model type where the top has none",
	 "{\"text_config\": {\"model_type\": \"mistral\"}}", NULL,
	 "language_model.model.layers.3.mlp.up_proj.weight U8 [2,2]\n"
	 "language_model.model.layers.3.mlp.gate_proj.weight U8 [2,2]\n",
	 "language_model.model.layers.3.mlp.gate_up_proj.weight U8 [4,2] ="
	 " language_model.model.layers.3.mlp.gate_proj.weight"
	 " + language_model.model.layers.3.mlp.up_proj.weight\n",
	 "llama", NULL, NULL},
	{"text_config: not where the top has one",
	 "{\"model_type\": \"pixel\", \"text_config\": {\"model_type\": \"mistral\"}}", NULL,
	 "x U8 [1]\n", "x U8 [1] = x\n", NULL, "'pixel'", NULL},
	{"an empty checkpoint", LLAMA, NULL, "", "", "llama", NULL, NULL},
	{"unknown architecture", "{\"model_type\": \"wave\x01net\"}", NULL,
	 "a.self_attn.q_proj.weight U8 [1]\n",
	 "a.self_attn.q_proj.weight U8 [1] ="
	 " a.self_attn.q_proj.weight\n",
	 NULL, "no rules for model type 'wave?net'", NULL},
	{"no config", NULL, NULL, "x F32 []\n", "x F32 [] = x\n", NULL,
	 "no config.json could be read", NULL},
	{"config without a model type", "{\"model_type\": null}", NULL, "x F32 []\n",
	 "x F32 [] = x\n", NULL, "has no 'model_type'", NULL},
	{"config as Python reads it",
	 "{\"a\": NaN, \"b\": [Infinity, -Infinity], \"model_type\": \"llama\"}\n ", NULL,
	 "x F32 []\n", "x F32 [] = x\n", "llama", NULL, NULL},
	{"rules of one's own apply whatever the model type", "{\"model_type\": \"other\"}",
	 RULES("\"weight\""), "a.q.weight U8 [1]\na.k.weight U8 [2]\n",
	 "a.qk.weight U8 [3] = a.q.weight + a.k.weight\n", "mine", NULL, NULL},
	{"rules of one's own need no config", NULL, RULES("\"w.x\""),
	 "a.q.w.x U8 [1]\na.k.w.x U8 [2]\n", "a.qk.w.x U8 [3] = a.q.w.x + a.k.w.x\n", "mine", NULL,
	 NULL},
};

static const struct row tied[] = {
	{"tied and present: the head is unused", LLAMA_TIED, NULL,
	 "lm_head.weight U8 [4]\nmodel.embed_tokens.weight U8 [4]\n",
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n", "llama", NULL,
	 "lm_head.weight\n"},
	{"tied and absent", LLAMA_TIED, NULL, "model.embed_tokens.weight U8 [4]\n",
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n", "llama", NULL, NULL},
	{"not tied", "{\"model_type\": \"llama\", \"tie_word_embeddings\": false}", NULL,
	 "lm_head.weight U8 [4]\nmodel.embed_tokens.weight U8 [4]\n",
	 "lm_head.weight U8 [4] = lm_head.weight\n"
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n",
	 "llama", NULL, NULL},
	{"not a word about it: not tied in these families", LLAMA, NULL,
	 "lm_head.weight U8 [4]\nmodel.embed_tokens.weight U8 [4]\n",
	 "lm_head.weight U8 [4] = lm_head.weight\n"
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n",
	 "llama", NULL, NULL},
	{"tied, but only the head is there", LLAMA_TIED, NULL, "lm_head.weight U8 [4]\n",
	 "lm_head.weight U8 [4] = lm_head.weight\n", "llama",
	 "'lm_head.weight' stays, for 'model.embed_tokens.weight'", NULL},
	{"tied in text_config",
	 "{\"model_type\": \"llama\", \"text_config\": {\"tie_word_embeddings\": true}}", NULL,
	 "lm_head.weight U8 [4]\nmodel.embed_tokens.weight U8 [4]\n",
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n", "llama", NULL,
	 "lm_head.weight\n"},
	{"the top wins over text_config",
	 "{\"model_type\": \"llama\", \"tie_word_embeddings\": false,"
	 " \"text_config\": {\"tie_word_embeddings\": true}}",
	 NULL, "lm_head.weight U8 [4]\nmodel.embed_tokens.weight U8 [4]\n",
	 "lm_head.weight U8 [4] = lm_head.weight\n"
	 "model.embed_tokens.weight U8 [4] = model.embed_tokens.weight\n",
	 "llama", NULL, NULL},
	{"tied by default, where the rule says so", NULL,
	 "{\"family\": \"g\", \"model_types\": [\"m\"], \"tied\": [{\"when\": \"t\", \"default\":"
	 " true, \"skip\": \"h\"}]}",
	 "h U8 [4]\n", "", "g", NULL, "h\n"},
	{"tied, and a part of a group", "{\"t\": 1}",
	 "{\"family\": \"g\", \"model_types\": [\"m\"], \"tied\": [{\"when\": \"t\", \"skip\":"
	 " \"a.k.w\"}], \"fuse\": [{\"into\": \"qk\", \"from\": [\"q\", \"k\"], \"within\": \"a\","
	 " \"leaves\": [\"w\"]}]}",
	 "a.q.w U8 [4]\na.k.w U8 [4]\n", "a.q.w U8 [4] = a.q.w\n", "g", "another rule took 'a.k.w'",
	 "a.k.w\n"},
};

static const struct row groups[] = {
	{"a bias that only q has", LLAMA, NULL,
	 "l.self_attn.q_proj.weight U8 [1]\n"
	 "l.self_attn.q_proj.bias U8 [1]\n"
	 "l.self_attn.k_proj.weight U8 [1]\n"
	 "l.self_attn.v_proj.weight U8 [1]\n",
	 "l.self_attn.q_proj.weight U8 [1] = l.self_attn.q_proj.weight\n"
	 "l.self_attn.q_proj.bias U8 [1] = l.self_attn.q_proj.bias\n"
	 "l.self_attn.k_proj.weight U8 [1] = l.self_attn.k_proj.weight\n"
	 "l.self_attn.v_proj.weight U8 [1] = l.self_attn.v_proj.weight\n",
	 "llama", "'l.self_attn.qkv_proj' stays in its parts: 'k_proj' has no 'bias'", NULL},
	{"a module that is not there", LLAMA, NULL, "l.mlp.up_proj.weight U8 [1]\n",
	 "l.mlp.up_proj.weight U8 [1] = l.mlp.up_proj.weight\n", "llama",
	 "'gate_proj' has no 'weight'", NULL},
	{"the first of several is named, the others counted", NULL, RULES("\"w\""),
	 "0.a.k.w U8 [1]\n1.a.k.w U8 [1]\n2.a.q.w U8 [1]\n3.a.q.w U8 [1]\n3.a.k.w U8 [1]\n",
	 "0.a.k.w U8 [1] = 0.a.k.w\n1.a.k.w U8 [1] = 1.a.k.w\n2.a.q.w U8 [1] = 2.a.q.w\n"
	 "3.a.qk.w U8 [2] = 3.a.q.w + 3.a.k.w\n",
	 "mine", "'0.a.qk' stays in its parts: 'q' has no 'w' (and 2 more)", NULL},
	{"data types that differ", NULL, RULES("\"w\""), "a.q.w F16 [1]\na.k.w BF16 [1]\n",
	 "a.q.w F16 [1] = a.q.w\na.k.w BF16 [1] = a.k.w\n", "mine",
	 "'a.q.w' and 'a.k.w' differ in data type", NULL},
	{"ranks that differ", NULL, RULES("\"w\""), "a.q.w F16 [1]\na.k.w F16 [1,1]\n",
	 "a.q.w F16 [1] = a.q.w\na.k.w F16 [1,1] = a.k.w\n", "mine", "differ in rank", NULL},
	{"a second dimension that differs", NULL, RULES("\"w\""),
	 "a.q.w F16 [2,3]\na.k.w F16 [2,4]\n", "a.q.w F16 [2,3] = a.q.w\na.k.w F16 [2,4] = a.k.w\n",
	 "mine", "differ in shape past the first dimension", NULL},
	{"a first dimension past 2^64", NULL, RULES("\"w\""),
	 "a.q.w U8 [9223372036854775808,0]\na.k.w U8 [9223372036854775808,0]\n",
	 "a.k.w U8 [9223372036854775808,0] = a.k.w\na.q.w U8 [9223372036854775808,0] = a.q.w\n",
	 "mine", "over 2^64 rows", NULL},
	{"quantised: what the rules do not cover keeps the group in its parts", LLAMA, NULL,
	 "l.mlp.gate_proj.weight F8_E4M3 [4,4]\n"
	 "l.mlp.gate_proj.qzeros F32 []\n"
	 "l.mlp.up_proj.weight F8_E4M3 [4,4]\n"
	 "l.mlp.up_proj.qzeros F32 []\n"
	 "m.mlp.gate_proj.weight BF16 [2]\n"
	 "m.mlp.up_proj.weight BF16 [2]\n",
	 "l.mlp.gate_proj.weight F8_E4M3 [4,4] = l.mlp.gate_proj.weight\n"
	 "l.mlp.gate_proj.qzeros F32 [] = l.mlp.gate_proj.qzeros\n"
	 "l.mlp.up_proj.weight F8_E4M3 [4,4] = l.mlp.up_proj.weight\n"
	 "l.mlp.up_proj.qzeros F32 [] = l.mlp.up_proj.qzeros\n"
	 "m.mlp.gate_up_proj.weight BF16 [4] = m.mlp.gate_proj.weight + m.mlp.up_proj.weight\n",
	 "llama", "the rules do not cover 'l.mlp.gate_proj.qzeros'", NULL},
	{"quantised: only the last part", NULL, RULES("\"weight\""),
	 "a.q.weight U8 [1]\na.k.weight U8 [1]\na.k.weight.absmax F32 [1]\n",
	 "a.q.weight U8 [1] = a.q.weight\na.k.weight U8 [1] = a.k.weight\n"
	 "a.k.weight.absmax F32 [1] = a.k.weight.absmax\n",
	 "mine", "do not cover 'a.k.weight.absmax'", NULL},
	{"a leaf that is a scalar everywhere stays, the others are joined", NULL,
	 RULES("\"s\", \"w\""), "a.q.w U8 [1]\na.q.s F32 []\na.k.w U8 [2]\na.k.s F32 []\n",
	 "a.qk.w U8 [3] = a.q.w + a.k.w\na.q.s F32 [] = a.q.s\na.k.s F32 [] = a.k.s\n", "mine",
	 NULL, NULL},
	{"the joined name is in the checkpoint", NULL, RULES("\"w\""),
	 "a.q.w U8 [1]\na.qk.w U8 [3]\na.k.w U8 [2]\n",
	 "a.q.w U8 [1] = a.q.w\na.qk.w U8 [3] = a.qk.w\na.k.w U8 [2] = a.k.w\n", "mine",
	 "the checkpoint has 'a.qk.w' already", NULL},
	{"empty tensors are joined, and each is a source", NULL, RULES("\"w\""),
	 "a.q.w F32 [0,4]\na.k.w F32 [0,4]\nz F32 [0]\n",
	 "a.qk.w F32 [0,4] = a.q.w + a.k.w\nz F32 [0] = z\n", "mine", NULL, NULL},
	{"one empty part", NULL, RULES("\"w\""), "a.q.w F32 [0,4]\na.k.w F32 [2,4]\n",
	 "a.qk.w F32 [2,4] = a.q.w + a.k.w\n", "mine", NULL, NULL},
	{"4-bit elements", NULL, RULES("\"w\""), "a.q.w F4 [3,2]\na.k.w F4 [1,2]\n",
	 "a.qk.w F4 [4,2] = a.q.w + a.k.w\n", "mine", NULL, NULL},
};

/* Names that look like parts of a group, and are not: no note either. */
static const struct row names[] = {
	{"a longer module name", NULL, RULES("\"w\""), "a.q2.w U8 [1]\na.xq.w U8 [1]\na.q U8 [1]\n",
	 "a.q2.w U8 [1] = a.q2.w\na.xq.w U8 [1] = a.xq.w\na.q U8 [1] = a.q\n", "mine", NULL, NULL},
	{"a longer parent", NULL, RULES("\"w\""), "xa.q.w U8 [1]\na2.k.w U8 [1]\n",
	 "xa.q.w U8 [1] = xa.q.w\na2.k.w U8 [1] = a2.k.w\n", "mine", NULL, NULL},
	{"another parent between", NULL, RULES("\"w\""), "a.b.q.w U8 [1]\n",
	 "a.b.q.w U8 [1] = a.b.q.w\n", "mine", NULL, NULL},
	{"experts are not the mlp itself", LLAMA, NULL, "l.mlp.experts.0.gate_proj.weight U8 [1]\n",
	 "l.mlp.experts.0.gate_proj.weight U8 [1] = l.mlp.experts.0.gate_proj.weight\n", "llama",
	 NULL, NULL},
	{"dots everywhere", NULL, RULES("\"w\""),
	 ". U8 [1]\n.. U8 [1]\n.a.q U8 [1]\n..a..q U8 [1]\n",
	 ". U8 [1] = .\n.. U8 [1] = ..\n.a.q U8 [1] = .a.q\n..a..q U8 [1] = ..a..q\n", "mine", NULL,
	 NULL},
	{"an empty leaf is one that the rules do not cover", NULL, RULES("\"w\""), "a.q. U8 [1]\n",
	 "a.q. U8 [1] = a.q.\n", "mine", "do not cover 'a.q.'", NULL},
	{"the same rule inside itself: the outer one counts", NULL, RULES("\"w\""),
	 "a.q.a.q.w U8 [1]\na.q.a.k.w U8 [1]\n",
	 "a.q.a.q.w U8 [1] = a.q.a.q.w\na.q.a.k.w U8 [1] = a.q.a.k.w\n", "mine",
	 "do not cover 'a.q.a.k.w'", NULL},
	{"a NUL in the prefix is like any byte", NULL, RULES("\"w\""),
	 "x\xc0\x80.a.q.w U8 [1]\nx\xc0\x80.a.k.w U8 [1]\nx.a.k.w U8 [1]\n",
	 "x\xc0\x80.a.qk.w U8 [2] = x\xc0\x80.a.q.w + x\xc0\x80.a.k.w\n"
	 "x.a.k.w U8 [1] = x.a.k.w\n",
	 "mine", "'x.a.qk'", NULL},
	{"siblings that sort between a module and its leaves", NULL, RULES("\"w\""),
	 "a.q-x U8 [1]\na.q.w U8 [1]\na.q U8 [1]\na.q/x U8 [1]\na.k.w U8 [1]\n",
	 "a.q-x U8 [1] = a.q-x\na.qk.w U8 [2] = a.q.w + a.k.w\na.q U8 [1] = a.q\n"
	 "a.q/x U8 [1] = a.q/x\n",
	 "mine", NULL, NULL},
};

/* ---- the plan as text ------------------------------------------------------------------------ */

static char *describe(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	const struct wload_param *p;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	uint32_t i, j;

	for (i = 0; i < wload_plan_count(plan); i++) {
		p = wload_plan_param(plan, i);
		fprintf(out, "%s %s [", p->name, wload_dtype_describe(p->dtype)->name);
		for (j = 0; j < p->rank; j++)
			fprintf(out, "%s%ju", j ? "," : "", (uintmax_t)p->shape[j]);
		for (j = 0; j < p->source_count; j++)
			fprintf(out, "%s %s", j ? " +" : "] =",
				wload_inventory_tensor(inv, p->sources[j].tensor).name);
		putc('\n', out);
	}
	fclose(out);
	return text;
}

static char *describe_unused(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	uint32_t i;

	for (i = 0; i < wload_inventory_count(inv); i++)
		if (wload_plan_uses(plan, i) == 0)
			fprintf(out, "%s\n", wload_inventory_tensor(inv, i).name);
	fclose(out);
	return text;
}

/* ---- what holds for every plan --------------------------------------------------------------- */

static uint64_t shape_bytes(const struct wload_param *p)
{
	uint64_t bits = wload_dtype_describe(p->dtype)->bits;
	uint32_t i;

	for (i = 0; i < p->rank; i++)
		bits *= p->shape[i];
	return bits / 8;
}

/* Counts each tensor's uses. Returns what is wrong with the parameter, or NULL. */
static const char *check_param(const struct wload_inventory *inv, const struct wload_param *p,
			       uint32_t *uses)
{
	const struct wload_source *s;
	uint64_t at = 0;

	if (p->source_count == 0)
		return "a parameter has no source";
	for (s = p->sources; s < p->sources + p->source_count; s++) {
		if (s->dst_offset != at)
			return "sources do not tile";
		if (s->src_offset != 0 || s->bytes != wload_inventory_tensor(inv, s->tensor).bytes)
			return "a source is not the whole tensor";
		uses[s->tensor]++;
		at += s->bytes;
	}
	if (at != p->bytes || p->bytes != shape_bytes(p))
		return "the bytes are not those of the shape";
	return NULL;
}

static const char *check_plan(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	uint32_t count = wload_inventory_count(inv), i;
	uint32_t *uses CLEANUP_FREE = calloc(count + 1, sizeof(*uses));
	const char *wrong = NULL;
	uint64_t bytes = 0;

	for (i = 0; i < wload_plan_count(plan) && !wrong; i++) {
		wrong = check_param(inv, wload_plan_param(plan, i), uses);
		bytes += wload_plan_param(plan, i)->bytes;
		if (i && wload_plan_param(plan, i)->sources[0].tensor <=
				 wload_plan_param(plan, i - 1)->sources[0].tensor)
			wrong = "parameters are not in disk order";
	}
	for (i = 0; i < count && !wrong; i++) {
		if (uses[i] > 1)
			wrong = "a tensor is used twice";
		if (uses[i] != wload_plan_uses(plan, i))
			wrong = "uses are miscounted";
	}
	if (!wrong && bytes != wload_plan_bytes(plan))
		wrong = "the sum of bytes is wrong";
	return wrong;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static bool row_holds(const struct row *row, const struct wload_inventory *inv,
		      const struct wload_plan *plan)
{
	const char *note = wload_plan_note(plan), *wrong = check_plan(inv, plan);
	char *params CLEANUP_FREE = describe(inv, plan);
	char *unused CLEANUP_FREE = describe_unused(inv, plan);
	bool pass = true;

	pass &= world_same("parameters", params, row->want);
	pass &= world_same("unused", unused, row->unused ? row->unused : "");
	pass &= world_same("family", wload_plan_family(plan), row->family ? row->family : "none");
	if (row->note ? !note || !strstr(note, row->note) : note != NULL)
		pass &= world_same("note", note ? note : "none", row->note ? row->note : "none");
	if (wrong)
		pass &= world_same("property", wrong, "");
	return pass;
}

static void check_row(struct tap *tap, const char *of, const struct row *row)
{
	struct wload_inventory *inv = world_inventory(row->tensors);
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	struct wload_error err = {0};
	bool pass = true;

	if (row->rules && wload_rules_parse(row->rules, strlen(row->rules), "row", &rules, &err))
		pass = world_same("rules", err.text, "");
	if (wload_plan_build(inv, row->config, &(struct wload_plan_options){.rules = rules}, &plan,
			     &err))
		pass = world_same("build", err.text, "");
	wload_rules_free(rules); /* a plan must not need them any more */
	ok(tap, pass && row_holds(row, inv, plan), "%s: %s", of, row->name);
	wload_plan_free(plan);
	inventory_free(inv);
}

/* ---- configs that are refused ---------------------------------------------------------------- */

static void check_bad_configs(struct tap *tap)
{
	static const struct {
		const char *name, *config;
	} bad[] = {
		{"empty", ""},
		{"cut off", "{\"model_type\": \"lla"},
		{"an array", "[]"},
		{"a string", "\"llama\""},
		{"followed by more", "{} {}"},
		{"null", "null"},
		{"a bare word", "llama"},
	};
	struct wload_inventory *inv = world_inventory("x U8 [1]\n");
	struct wload_plan *plan = NULL;
	struct wload_error err;
	size_t i;
	int r;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err = (struct wload_error){0};
		r = wload_plan_build(inv, bad[i].config, NULL, &plan, &err);
		if (!ok(tap, r == -EBADMSG && !plan && strstr(err.text, "'config.json'"),
			"bad config: %s", bad[i].name))
			printf("# %d %s\n", r, err.text);
	}
	inventory_free(inv);
}

/* ---- size ------------------------------------------------------------------------------------ */

#define LARGE_TENSORS 180364 /* as many as DeepSeek-R1-FP4 has */

__attribute__((format(printf, 5, 6))) static void large_add(struct wload_inventory *inv,
							    uint64_t *offset, const uint64_t *shape,
							    uint32_t rank, const char *fmt, ...)
{
	char name[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	world_add(inv, name, "BF16", shape, rank, offset);
}

/* Every tensor a part of a group: 36,072 layers of q, k, v, gate and up, and four norms. */
static struct wload_inventory *large_inventory(void)
{
	static const char *const parts[] = {"self_attn.q_proj", "self_attn.k_proj",
					    "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"};
	struct wload_inventory *inv = inventory_new();
	uint64_t shape[2] = {8, 8}, offset = 0;
	uint32_t i;

	for (i = 0; i < LARGE_TENSORS; i++)
		if (i < LARGE_TENSORS / 5 * 5)
			large_add(inv, &offset, shape, 2, "model.layers.%u.%s.weight", i / 5,
				  parts[i % 5]);
		else
			large_add(inv, &offset, shape, 1, "model.norm.%u", i);
	return world_sealed(inv);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The bound on time is wide: sanitizers and busy machines. The measured figures are printed. */
static void check_large(struct tap *tap, const char *config, uint32_t tp, uint32_t want_params)
{
	struct wload_inventory *inv = large_inventory();
	struct wload_plan *plan = NULL;
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, after;
	double start = now(), seconds;

	wload_plan_build(inv, config, &(struct wload_plan_options){.tp = tp, .rank = tp - 1}, &plan,
			 NULL);
	seconds = now() - start;
	after = mallinfo2().uordblks + mallinfo2().hblkhd;
	ok(tap, plan && wload_plan_count(plan) == want_params && (tp > 1 || !check_plan(inv, plan)),
	   "large: %u tensors, %u parameters, tp %u", LARGE_TENSORS, want_params, tp);
	ok(tap, seconds < 5, "large: within 5 s");
	ok(tap, after - before <= LARGE_TENSORS * (size_t)150, "large: at most 150 bytes a tensor");
	printf("# %.0f ms, %.1f bytes a tensor\n", seconds * 1e3,
	       (double)(after - before) / LARGE_TENSORS);
	wload_plan_free(plan);
	inventory_free(inv);
}

int main(void)
{
	static const struct {
		const char *name;
		const struct row *rows;
		size_t count;
	} tables[] = {
		{"family", families, sizeof(families) / sizeof(*families)},
		{"tied", tied, sizeof(tied) / sizeof(*tied)},
		{"group", groups, sizeof(groups) / sizeof(*groups)},
		{"names", names, sizeof(names) / sizeof(*names)},
	};
	struct tap tap = {0};
	size_t i, j;

	for (i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (j = 0; j < tables[i].count; j++)
			check_row(&tap, tables[i].name, &tables[i].rows[j]);
	check_bad_configs(&tap);
	check_large(&tap, NULL, 1, LARGE_TENSORS);
	check_large(&tap, LLAMA, 1, LARGE_TENSORS / 5 * 2 + LARGE_TENSORS % 5);
	check_large(&tap, LLAMA_HEADS, 8, LARGE_TENSORS / 5 * 2 + LARGE_TENSORS % 5);
	wload_plan_free(NULL);
	return tap_done(&tap);
}
