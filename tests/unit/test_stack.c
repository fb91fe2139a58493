/* SPDX-License-Identifier: Apache-2.0 */
/* Experts in stacks, modules that hold several parts already, scales of blocks, layouts: rows that
 * show each rule, each refusal, and each note. */

#include <errno.h>
#include <stdlib.h>

#include "plan_rows.h"
#include "tap.h"

#define RULES(x) "{\"family\": \"mine\", \"model_types\": [\"m\"], " x "}"
#define STACK                                                                               \
	"\"stack\": [{\"into\": \"w13\", \"from\": [\"g\", \"u\"], \"within\": \"m.e\", "   \
	"\"along\": \"column\", \"layout\": \"vllm\", \"every_rank\": [\"input_scale\"]}, " \
	"{\"into\": \"w31\", \"from\": [\"u\", \"g\"], \"within\": \"m.e\", "               \
	"\"along\": \"column\", \"layout\": \"trtllm\"}, "                                  \
	"{\"into\": \"w2\", \"from\": [\"d\"], \"within\": \"m.e\", \"along\": \"row\"}], "
#define SPLIT(m, how) "\"split\": [{\"modules\": [\"" m "\"], \"along\": \"" how "\"}]"
#define ANY	      SPLIT("x", "whole")
#define PACKED(each)                                                                        \
	"\"packed\": [{\"module\": \"qkv\", \"within\": \"a\", \"parts\": [\"q\", \"k\"], " \
	"\"shares\": [\"heads\", 1]" each "}], \"fuse\": [{\"into\": \"qkv\", \"from\": "   \
	"[\"q\", \"k\"], \"within\": \"a\"}], \"split\": [{\"modules\": [\"q\", \"k\"], "   \
	"\"along\": \"column\"}]"
#define SCALED                                                                             \
	"\"fuse\": [{\"into\": \"gu\", \"from\": [\"g\", \"u\"], \"within\": \"m\"}], "    \
	"\"split\": [{\"modules\": [\"g\", \"u\"], \"along\": \"column\"}, {\"modules\": " \
	"[\"d\"], \"along\": \"row\"}, {\"modules\": [\"q\"], \"along\": \"heads\", "      \
	"\"head\": [\"nope\", \"rope\"]}]"

#define EXPERTS(n)                                                     \
	"m.e." #n ".d.weight U8 [2,4]\nm.e." #n ".g.weight U8 [4,2]\n" \
	"m.e." #n ".u.weight U8 [4,2]\n"

static const struct row stacks[] = {
	{"up before gate, by number and not by name", RULES(STACK ANY), NULL,
	 "l.m.e.0.g.weight U8 [2,2]\nl.m.e.0.u.weight U8 [2,2]\nl.m.e.1.g.weight U8 [2,2]\n"
	 "l.m.e.1.u.weight U8 [2,2]\n",
	 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "l.m.e.w31_weight U8 [2,4,2] = l.m.e.0.u.weight@0+4 + l.m.e.0.g.weight@0+4"
	 " + l.m.e.1.u.weight@0+4 + l.m.e.1.g.weight@0+4\n",
	 0, NULL},
	{"gate before up in the other layout", RULES(STACK ANY), NULL,
	 "m.e.0.g.weight U8 [2,2]\nm.e.0.u.weight U8 [2,2]\n", 0, 0, 0, WLOAD_LAYOUT_VLLM,
	 "m.e.w13_weight U8 [1,4,2] = m.e.0.g.weight@0+4 + m.e.0.u.weight@0+4\n", 0, NULL},
	{"ten follows nine", RULES(STACK ANY), NULL,
	 "m.e.10.d.bias U8 [1]\nm.e.0.d.bias U8 [1]\nm.e.1.d.bias U8 [1]\nm.e.2.d.bias U8 [1]\n"
	 "m.e.3.d.bias U8 [1]\nm.e.4.d.bias U8 [1]\nm.e.5.d.bias U8 [1]\nm.e.6.d.bias U8 [1]\n"
	 "m.e.7.d.bias U8 [1]\nm.e.8.d.bias U8 [1]\nm.e.9.d.bias U8 [1]\n",
	 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.w2_bias U8 [11,1] = m.e.0.d.bias@0+1 + m.e.1.d.bias@0+1 + m.e.2.d.bias@0+1"
	 " + m.e.3.d.bias@0+1 + m.e.4.d.bias@0+1 + m.e.5.d.bias@0+1 + m.e.6.d.bias@0+1"
	 " + m.e.7.d.bias@0+1 + m.e.8.d.bias@0+1 + m.e.9.d.bias@0+1 + m.e.10.d.bias@0+1\n",
	 0, NULL},
	{"scalars: one for each part of each expert", RULES(STACK ANY), NULL,
	 "m.e.0.g.input_scale F32 []\nm.e.0.u.input_scale F32 []\nm.e.0.d.input_scale F32 []\n"
	 "m.e.1.g.input_scale F32 []\nm.e.1.u.input_scale F32 []\nm.e.1.d.input_scale F32 []\n",
	 0, 0, 0, WLOAD_LAYOUT_VLLM,
	 "m.e.w13_input_scale F32 [2,2] = m.e.0.g.input_scale@0+4 + m.e.0.u.input_scale@0+4"
	 " + m.e.1.g.input_scale@0+4 + m.e.1.u.input_scale@0+4\n"
	 "m.e.w2_input_scale F32 [2] = m.e.0.d.input_scale@0+4 + m.e.1.d.input_scale@0+4\n",
	 0, NULL},
	{"each expert's parts are cut, then joined", RULES(STACK ANY), NULL, EXPERTS(0) EXPERTS(1),
	 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.w2_weight U8 [2,2,2] = m.e.0.d.weight@2+4*2/4 + m.e.1.d.weight@2+4*2/4\n"
	 "m.e.w31_weight U8 [2,4,2] = m.e.0.u.weight@4+4 + m.e.0.g.weight@4+4"
	 " + m.e.1.u.weight@4+4 + m.e.1.g.weight@4+4\n",
	 0, NULL},
	{"ep: whole experts", RULES(STACK ANY), NULL, EXPERTS(0) EXPERTS(1), 2, 1, 2,
	 WLOAD_LAYOUT_TRTLLM,
	 "m.e.w2_weight U8 [1,2,4] = m.e.1.d.weight@0+8\n"
	 "m.e.w31_weight U8 [1,8,2] = m.e.1.u.weight@0+8 + m.e.1.g.weight@0+8\n",
	 0, NULL},
	{"ep within tp: ranks that follow each other have other experts", RULES(STACK ANY), NULL,
	 EXPERTS(0) EXPERTS(1), 4, 1, 2, WLOAD_LAYOUT_TRTLLM,
	 "m.e.w2_weight U8 [1,2,2] = m.e.1.d.weight@0+4*2/4\n"
	 "m.e.w31_weight U8 [1,4,2] = m.e.1.u.weight@0+4 + m.e.1.g.weight@0+4\n",
	 0, NULL},
	{"ep within tp: the second half of each", RULES(STACK ANY), NULL, EXPERTS(0) EXPERTS(1), 4,
	 2, 2, WLOAD_LAYOUT_TRTLLM,
	 "m.e.w2_weight U8 [1,2,2] = m.e.0.d.weight@2+4*2/4\n"
	 "m.e.w31_weight U8 [1,4,2] = m.e.0.u.weight@4+4 + m.e.0.g.weight@4+4\n",
	 0, NULL},
	{"ep: leaves that every rank has of all experts", RULES(STACK ANY), NULL,
	 "m.e.0.g.input_scale F32 []\nm.e.0.u.input_scale F32 []\nm.e.0.g.weight_scale_2 F32 []\n"
	 "m.e.0.u.weight_scale_2 F32 []\nm.e.1.g.input_scale F32 []\nm.e.1.u.input_scale F32 []\n"
	 "m.e.1.g.weight_scale_2 F32 []\nm.e.1.u.weight_scale_2 F32 []\n",
	 2, 1, 2, WLOAD_LAYOUT_VLLM,
	 "m.e.w13_input_scale F32 [2,2] = m.e.0.g.input_scale@0+4 + m.e.0.u.input_scale@0+4"
	 " + m.e.1.g.input_scale@0+4 + m.e.1.u.input_scale@0+4\n"
	 "m.e.w13_weight_scale_2 F32 [1,2] = m.e.1.g.weight_scale_2@0+4"
	 " + m.e.1.u.weight_scale_2@0+4\n",
	 0, NULL},
	{"an expert that is missing", RULES(STACK ANY), NULL,
	 "m.e.0.d.weight U8 [1]\nm.e.2.d.weight U8 [1]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.0.d.weight U8 [1] = m.e.0.d.weight@0+1\nm.e.2.d.weight U8 [1] = "
	 "m.e.2.d.weight@0+1\n",
	 0, "'m.e.w2' stays in its parts: expert 1 has no 'd.weight'"},
	{"experts that differ", RULES(STACK ANY), NULL,
	 "m.e.0.d.weight U8 [1]\nm.e.1.d.weight U8 [2]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.0.d.weight U8 [1] = m.e.0.d.weight@0+1\nm.e.1.d.weight U8 [2] = "
	 "m.e.1.d.weight@0+2\n",
	 0, "'m.e.0.d.weight' and 'm.e.1.d.weight' differ in shape"},
	{"a leaf that is not covered", RULES(STACK ANY), NULL,
	 "m.e.0.d.weight U8 [1]\nm.e.0.d.qzeros U8 [1]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.0.d.weight U8 [1] = m.e.0.d.weight@0+1\nm.e.0.d.qzeros U8 [1] = "
	 "m.e.0.d.qzeros@0+1\n",
	 0, "the rules do not cover 'm.e.0.d.qzeros'"},
	{"numbers that are none: 007, 1x, past the limit", RULES(STACK ANY), NULL,
	 "m.e.00.d.weight U8 [1]\nm.e.1x.d.weight U8 [1]\nm.e.d.weight U8 [1]\n", 0, 0, 0,
	 WLOAD_LAYOUT_TRTLLM,
	 "m.e.00.d.weight U8 [1] = m.e.00.d.weight@0+1\nm.e.1x.d.weight U8 [1] = "
	 "m.e.1x.d.weight@0+1\nm.e.d.weight U8 [1] = m.e.d.weight@0+1\n",
	 0, NULL},
	{"more experts than there can be", RULES(STACK ANY), NULL,
	 "m.e.0.d.weight U8 [1]\nm.e.18446744073709551616.d.weight U8 [1]\n", 0, 0, 0,
	 WLOAD_LAYOUT_TRTLLM,
	 "m.e.0.d.weight U8 [1] = m.e.0.d.weight@0+1\nm.e.18446744073709551616.d.weight U8 [1] = "
	 "m.e.18446744073709551616.d.weight@0+1\n",
	 0, "do not cover 'm.e.18446744073709551616.d.weight'"},
	{"a stack's name that is taken", RULES(STACK ANY), NULL,
	 "m.e.0.d.weight U8 [1]\nm.e.w2_weight U8 [1]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.e.0.d.weight U8 [1] = m.e.0.d.weight@0+1\nm.e.w2_weight U8 [1] = m.e.w2_weight@0+1\n",
	 0, "the checkpoint has 'm.e.w2_weight' already"},
	{"experts that ep does not divide", RULES(STACK ANY), NULL, EXPERTS(0), 2, 1, 2,
	 WLOAD_LAYOUT_TRTLLM,
	 "rank 1 of 2: tensor 'm.e.w2_weight' has dimension 0 of 1: experts, of which ep 2 is no "
	 "divisor",
	 EINVAL, NULL},
	{"ep that does not divide tp", RULES(STACK ANY), NULL, EXPERTS(0), 4, 1, 3,
	 WLOAD_LAYOUT_TRTLLM, "ep 3, which is no divisor of the 4 ranks", EINVAL, NULL},
	{"ep where nothing is stacked", RULES(ANY), NULL, EXPERTS(0), 2, 1, 2, WLOAD_LAYOUT_TRTLLM,
	 "the rules of 'mine' stack no experts that ep 2 could share", EOPNOTSUPP, NULL},
	{"a layout that there is none of", RULES(ANY), NULL, EXPERTS(0), 0, 0, 0,
	 WLOAD_LAYOUT_COUNT, "layout 2 is not below 2", EINVAL, NULL},
};

static const struct row packed[] = {
	{"one rank: what is packed as it is wanted is one source", RULES(PACKED("")),
	 "{\"heads\": 2}", "a.qkv.weight U8 [6,2]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [6,2] = a.qkv.weight@0+12\n", 0, NULL},
	{"each part is cut by itself", RULES(PACKED("")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [6,2]\na.qkv.bias U8 [6]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [3,2] = a.qkv.weight@4+4 + a.qkv.weight@10+2\n"
	 "a.qkv.bias U8 [3] = a.qkv.bias@2+2 + a.qkv.bias@5+1\n",
	 0, NULL},
	{"in groups: rows of each are gathered", RULES(PACKED(", \"each\": 2")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [6,2]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [6,2] = a.qkv.weight@0+8*2/6 + a.qkv.weight@4+4*2/6\n", 0, NULL},
	{"in groups: a rank has whole ones", RULES(PACKED(", \"each\": 2")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [6,2]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [3,2] = a.qkv.weight@6+6\n", 0, NULL},
	{"in groups: large pieces are sources of their own", RULES(PACKED(", \"each\": 2")),
	 "{\"heads\": 1}", "a.qkv.weight U8 [4,16384]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [4,16384] = a.qkv.weight@0+16384 + a.qkv.weight@32768+16384"
	 " + a.qkv.weight@16384+16384 + a.qkv.weight@49152+16384\n",
	 0, NULL},
	{"a scalar of a packed module stays", RULES(PACKED("")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [3,2]\na.qkv.weight_scale F32 []\n", 2, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [2,2] = a.qkv.weight@0+2 + a.qkv.weight@4+2\n"
	 "a.qkv.weight_scale F32 [] = a.qkv.weight_scale@0+4\n",
	 0, NULL},
	{"rows that are not its parts'", RULES(PACKED("")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [4,2]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [4,2] = a.qkv.weight@0+8\n", 0,
	 "the rows of 'a.qkv.weight' are not those of its parts"},
	{"a number that config.json lacks", RULES(PACKED("")), "{}", "a.qkv.weight U8 [6,2]\n", 0,
	 0, 0, WLOAD_LAYOUT_TRTLLM, "a.qkv.weight U8 [6,2] = a.qkv.weight@0+12\n", 0,
	 "config.json tells no number as 'heads'"},
	{"packed, and the parts as well", RULES(PACKED("")), "{\"heads\": 2}",
	 "a.qkv.weight U8 [3,2]\na.q.weight U8 [2,2]\n", 0, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "a.qkv.weight U8 [3,2] = a.qkv.weight@0+6\na.q.weight U8 [2,2] = a.q.weight@0+4\n", 0,
	 "the rules do not cover 'a.qkv.weight'"},
	{"in groups: a share that is none of them", RULES(PACKED(", \"each\": 3")),
	 "{\"heads\": 1}", "a.qkv.weight U8 [12,1]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "rank 1 of 2: tensor 'a.q.weight' has dimension 0 of 6 in pieces of 2 bytes, and 3 bytes "
	 "from 3 are no whole ones",
	 EOPNOTSUPP, NULL},
};

static const struct row scales[] = {
	{"blocks of 128 go with their weight's rows", RULES(SCALED), NULL,
	 "m.g.weight U8 [512,1]\nm.u.weight U8 [512,1]\n"
	 "m.g.weight_scale_inv F32 [4,1]\nm.u.weight_scale_inv F32 [4,1]\n",
	 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.gu.weight U8 [512,1] = m.g.weight@256+256 + m.u.weight@256+256\n"
	 "m.gu.weight_scale_inv F32 [4,1] = m.g.weight_scale_inv@8+8 + m.u.weight_scale_inv@8+8\n",
	 0, NULL},
	{"a short last block", RULES(SCALED), NULL,
	 "d.weight U8 [1,300]\nd.weight_scale_inv F32 [1,3]\n", 1, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "d.weight U8 [1,300] = d.weight@0+300\nd.weight_scale_inv F32 [1,3] = "
	 "d.weight_scale_inv@0+12\n",
	 0, NULL},
	{"blocks of another size, told by the shapes", RULES(SCALED), NULL,
	 "d.weight U8 [2,32]\nd.weight_scale F8_E4M3 [2,4]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "d.weight U8 [2,16] = d.weight@16+32*2/32\nd.weight_scale F8_E4M3 [2,2] = "
	 "d.weight_scale@2+4*2/4\n",
	 0, NULL},
	{"one value for all ranks' rows", RULES(SCALED), NULL,
	 "d.weight U8 [2,32]\nd.weight_scale F32 [2,1]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "d.weight U8 [2,16] = d.weight@16+32*2/32\nd.weight_scale F32 [2,1] = "
	 "d.weight_scale@0+8\n",
	 0, NULL},
	{"one value a row, in one dimension", RULES(SCALED), NULL,
	 "g.weight U8 [4,2]\ng.weight_scale F32 [4]\nd.weight U8 [4,2]\nd.weight_scale F32 [4]\n",
	 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "g.weight U8 [2,2] = g.weight@4+4\ng.weight_scale F32 [2] = g.weight_scale@8+8\n"
	 "d.weight U8 [4,1] = d.weight@1+4*4/2\nd.weight_scale F32 [4] = d.weight_scale@0+16\n",
	 0, NULL},
	{"heads of two numbers, in blocks", RULES(SCALED),
	 "{\"num_attention_heads\": 4, \"nope\": 128, \"rope\": 64, \"head_dim\": 7}",
	 "q.weight U8 [768,1]\nq.weight_scale_inv F32 [6,1]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "q.weight U8 [384,1] = q.weight@384+384\nq.weight_scale_inv F32 [3,1] = "
	 "q.weight_scale_inv@12+12\n",
	 0, NULL},
	{"heads that begin inside a block", RULES(SCALED),
	 "{\"num_attention_heads\": 4, \"nope\": 128, \"rope\": 64}",
	 "q.weight U8 [768,1]\nq.weight_scale_inv F32 [6,1]\n", 4, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "rank 1 of 4: tensor 'q.weight_scale_inv' has dimension 0 of 6, blocks of 128, and 192 of "
	 "its weight from 192 are no whole ones",
	 EINVAL, NULL},
	{"a number of a head that config.json lacks", RULES(SCALED),
	 "{\"num_attention_heads\": 4, \"nope\": 128}", "q.weight U8 [768,1]\n", 2, 1, 0,
	 WLOAD_LAYOUT_TRTLLM, "config.json tells no number as 'rope'", EINVAL, NULL},
	{"sizes that are no blocks", RULES(SCALED), NULL,
	 "d.weight U8 [1,300]\nd.weight_scale F32 [1,7]\n", 2, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "rank 0 of 2: tensor 'd.weight_scale' has dimension 1 of 7, which are no blocks of its "
	 "weight's 300",
	 EOPNOTSUPP, NULL},
	{"joined behind a short block: one rank keeps the parts", RULES(SCALED), NULL,
	 "m.g.weight U8 [200,1]\nm.u.weight U8 [200,1]\n"
	 "m.g.weight_scale_inv F32 [2,1]\nm.u.weight_scale_inv F32 [2,1]\n",
	 1, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.g.weight U8 [200,1] = m.g.weight@0+200\nm.u.weight U8 [200,1] = m.u.weight@0+200\n"
	 "m.g.weight_scale_inv F32 [2,1] = m.g.weight_scale_inv@0+8\n"
	 "m.u.weight_scale_inv F32 [2,1] = m.u.weight_scale_inv@0+8\n",
	 0, "'m.g.weight_scale_inv' scales 72 rows past a whole block"},
	{"joined behind a short block: a rank whose share has one", RULES(SCALED), NULL,
	 "m.g.weight U8 [384,1]\nm.u.weight U8 [384,1]\n"
	 "m.g.weight_scale_inv F32 [3,1]\nm.u.weight_scale_inv F32 [3,1]\n",
	 2, 0, 0, WLOAD_LAYOUT_TRTLLM, "192 of its weight from 0 are no whole ones", EINVAL, NULL},
	{"scalars of a way that is not known stay with their sources", RULES(SCALED), NULL,
	 "m.g.weight I8 [2,1]\nm.u.weight I8 [2,1]\nm.g.weight_scale F32 []\n"
	 "m.u.weight_scale F32 []\n",
	 2, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.gu.weight I8 [2,1] = m.g.weight@0+1 + m.u.weight@0+1\n"
	 "m.g.weight_scale F32 [] = m.g.weight_scale@0+4\n"
	 "m.u.weight_scale F32 [] = m.u.weight_scale@0+4\n",
	 0, NULL},
	{"scalars of NVFP4 are one", RULES(SCALED), NULL,
	 "m.g.weight U8 [2,1]\nm.u.weight U8 [2,1]\nm.g.weight_scale_2 F32 []\n"
	 "m.u.weight_scale_2 F32 []\n",
	 2, 0, 0, WLOAD_LAYOUT_TRTLLM,
	 "m.gu.weight U8 [2,1] = m.g.weight@0+1 + m.u.weight@0+1\n"
	 "m.gu.weight_scale_2 F32 [] = m.g.weight_scale_2@0+4 + m.u.weight_scale_2@0+4\n"
	 " : equal 0>0 [] > of 2\n",
	 0, NULL},
};

#define JOIN(into, how)                                                          \
	"{\"into\": \"" into "\", \"from\": [\"q\", \"k\"], \"within\": \"a\", " \
	"\"layout\": \"" how "\"}"
#define LAYOUTS                                                                                 \
	RULES("\"fuse\": [" JOIN("k", "trtllm") ", " JOIN(                                      \
		"qk",                                                                           \
		"vllm") "], \"split\": "                                                        \
			"[{\"modules\": [\"e\"], \"along\": \"row\", \"layout\": \"trtllm\"}, " \
			"{\"modules\": [\"e\"], \"along\": \"whole\", \"layout\": \"vllm\"}, "  \
			"{\"modules\": [\"q\", \"k\"], \"along\": \"whole\"}]")

static const struct row layouts[] = {
	{"into one of its parts", LAYOUTS, NULL, "a.k.weight U8 [1,2]\na.q.weight U8 [2,2]\n", 0, 0,
	 0, WLOAD_LAYOUT_TRTLLM, "a.k.weight U8 [3,2] = a.q.weight@0+4 + a.k.weight@0+2\n", 0,
	 NULL},
	{"by another name", LAYOUTS, NULL, "a.k.weight U8 [1,2]\na.q.weight U8 [2,2]\n", 0, 0, 0,
	 WLOAD_LAYOUT_VLLM, "a.qk.weight U8 [3,2] = a.q.weight@0+4 + a.k.weight@0+2\n", 0, NULL},
	{"into one of its parts, which is alone", LAYOUTS, NULL, "a.k.weight U8 [1,2]\n", 0, 0, 0,
	 WLOAD_LAYOUT_TRTLLM, "a.k.weight U8 [1,2] = a.k.weight@0+2\n", 0, NULL},
	{"split in one", LAYOUTS, NULL, "e.weight U8 [2,2]\n", 2, 1, 0, WLOAD_LAYOUT_TRTLLM,
	 "e.weight U8 [2,1] = e.weight@1+2*2/2\n", 0, NULL},
	{"and not in the other", LAYOUTS, NULL, "e.weight U8 [2,2]\n", 2, 1, 0, WLOAD_LAYOUT_VLLM,
	 "e.weight U8 [2,2] = e.weight@0+4\n", 0, NULL},
};

/* Another rank's experts are neither used here nor unused. */
static void check_uses(struct tap *tap)
{
	static const char rules_text[] = RULES(STACK ANY);
	struct wload_inventory *inv = world_inventory(EXPERTS(0) EXPERTS(1));
	struct wload_plan_options options = {.tp = 2, .rank = 1, .ep = 2};
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;
	uint32_t elsewhere = 0, used = 0;

	wload_rules_parse(rules_text, strlen(rules_text), "x", &rules, NULL);
	options.rules = rules;
	wload_plan_build(inv, NULL, &options, &plan, NULL);
	for (uint32_t i = 0; plan && i < wload_inventory_count(inv); i++) {
		used += wload_plan_uses(plan, i);
		elsewhere += !wload_plan_uses(plan, i) && !wload_plan_unused(plan, i);
	}
	ok(tap, used == 3 && elsewhere == 3, "ep: what only other ranks need is not unused");
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
}

/* A tensor of which a parameter has several pieces is needed once. */
static void check_pieces(struct tap *tap)
{
	static const char rules_text[] = RULES(PACKED(", \"each\": 2"));
	struct wload_inventory *inv = world_inventory("a.qkv.weight U8 [6,2]\n");
	struct wload_rules *rules = NULL;
	struct wload_plan *plan = NULL;

	wload_rules_parse(rules_text, strlen(rules_text), "x", &rules, NULL);
	wload_plan_build(inv, "{\"heads\": 2}", &(struct wload_plan_options){.rules = rules}, &plan,
			 NULL);
	ok(tap,
	   plan && wload_plan_param(plan, 0)->source_count == 2 && wload_plan_uses(plan, 0) == 1,
	   "packed: a tensor that is needed in pieces is needed once");
	wload_plan_free(plan);
	wload_rules_free(rules);
	inventory_free(inv);
}

#define ALSO                                                                              \
	RULES("\"packed\": [{\"module\": \"kv\", \"within\": \"a\", \"parts\": [\"k\", "  \
	      "\"v\"], \"shares\": [2, 1], \"each\": \"heads\"}], \"fuse\": [{\"into\": " \
	      "\"kv\", \"from\": [\"k\", \"v\"], \"within\": \"a\"}], \"also\": "         \
	      "[{\"into\": \"kt\", \"from\": \"k\", \"within\": \"a\", \"each\": "        \
	      "\"heads\", \"transpose\": true}, {\"into\": \"v\", \"from\": \"v\", "      \
	      "\"within\": \"a\", \"each\": \"heads\"}], \"split\": [{\"modules\": "      \
	      "[\"k\", \"v\"], \"along\": \"column\"}]")

static const struct row also[] = {
	{"a part by itself, heads apart, each transposed", ALSO, "{\"heads\": 2}",
	 "a.kv.weight F8_E4M3 [6,4]\n", 0, 0, 0, 0,
	 "a.kv.weight F8_E4M3 [6,4] = a.kv.weight@0+16*2/12 + a.kv.weight@8+8*2/12\n"
	 "a.kt F8_E4M3 [2,4,2] = a.kv.weight@0+16*2/12\n"
	 " : transpose 0>0 [2,4,2] 8,1,4>8,2,1\n"
	 "a.v F8_E4M3 [2,1,4] = a.kv.weight@8+8*2/12\n",
	 0, NULL},
	{"a rank's own heads of it", ALSO, "{\"heads\": 2}", "a.kv.weight F8_E4M3 [6,4]\n", 2, 1, 0,
	 0,
	 "a.kv.weight F8_E4M3 [3,4] = a.kv.weight@12+12\n"
	 "a.kt F8_E4M3 [1,4,2] = a.kv.weight@12+8\n : transpose 0>0 [4,2] 1,4>2,1\n"
	 "a.v F8_E4M3 [1,1,4] = a.kv.weight@20+4\n",
	 0, NULL},
	{"a scale has the name without 'weight'", ALSO, "{\"heads\": 2}",
	 "a.kv.weight_scale_inv F32 [6,2]\n", 0, 0, 0, 0,
	 "a.kv.weight_scale_inv F32 [6,2] = a.kv.weight_scale_inv@0+32*2/24 + "
	 "a.kv.weight_scale_inv@16+16*2/24\n"
	 "a.kt_scale_inv F32 [2,2,2] = a.kv.weight_scale_inv@0+32*2/24\n"
	 " : transpose 0>0 [2,2,2] 4,1,2>4,2,1\n"
	 "a.v_scale_inv F32 [2,1,2] = a.kv.weight_scale_inv@16+16*2/24\n",
	 0, NULL},
	{"a bias has nothing to transpose", ALSO, "{\"heads\": 2}", "a.kv.bias F32 [6]\n", 0, 0, 0,
	 0,
	 "a.kv.bias F32 [6] = a.kv.bias@0+16*2/12 + a.kv.bias@8+8*2/12\n"
	 "a.kt_bias F32 [2,2] = a.kv.bias@0+16*2/12\na.v_bias F32 [2,1] = a.kv.bias@8+8*2/12\n",
	 0, NULL},
	{"two values a byte can't be transposed", ALSO, "{\"heads\": 1}", "a.kv.weight U8 [3,1]\n",
	 0, 0, 0, 0, "a.kv.weight U8 [3,1] = a.kv.weight@0+3\na.v U8 [1,1,1] = a.kv.weight@2+1\n",
	 0, "'a.kt' is not made: 'a.k.weight' of U8 can't be transposed"},
	{"its name is taken", ALSO, "{\"heads\": 1}", "a.kv.bias U8 [3]\na.v_bias U8 [1]\n", 0, 0,
	 0, 0,
	 "a.kv.bias U8 [3] = a.kv.bias@0+3\na.kt_bias U8 [1,2] = a.kv.bias@0+2\n"
	 "a.v_bias U8 [1] = a.v_bias@0+1\n",
	 0, "'a.v' is not made: the checkpoint has 'a.v_bias' already"},
	{"parts that are cut inside a head", ALSO, "{\"heads\": 1}", "a.kv.weight F8_E4M3 [6,4]\n",
	 2, 1, 0, 0,
	 "tensor 'a.k.weight' has dimension 0 of 4, 4 for each of 1, and 2 are no whole ones",
	 EINVAL, NULL},
};

#define DIVISOR                                                                         \
	RULES("\"split\": [{\"modules\": [\"u\"], \"along\": \"column\", \"divisor\": " \
	      "true}, {\"modules\": [\"d\"], \"along\": \"row\", \"divisor\": true}]")

static const struct row divisors[] = {
	{"fewer shares than ranks, all alike", DIVISOR, NULL,
	 "u.weight U8 [6,1]\nu.bias U8 [6]\nd.weight U8 [1,6]\nd.bias U8 [1]\n", 4, 1, 0, 0,
	 "u.weight U8 [3,1] = u.weight@3+3\nu.bias U8 [3] = u.bias@3+3\n"
	 "d.weight U8 [1,3] = d.weight@3+3\nd.bias U8 [1] = d.bias@0+1\n",
	 0, NULL},
	{"a share is that of all ranks of its remainder", DIVISOR, NULL, "u.weight U8 [6,1]\n", 4,
	 2, 0, 0, "u.weight U8 [3,1] = u.weight@0+3\n", 0, NULL},
	{"no common divisor: every rank has all", DIVISOR, NULL, "u.weight U8 [5,1]\n", 4, 3, 0, 0,
	 "u.weight U8 [5,1] = u.weight@0+5\n", 0, NULL},
	{"whole blocks of 128, of weight and scale", DIVISOR, NULL,
	 "u.weight F8_E4M3 [768,1]\nu.weight_scale_inv F32 [6,1]\n"
	 "d.weight F8_E4M3 [1,768]\nd.weight_scale_inv F32 [1,6]\n",
	 4, 1, 0, 0,
	 "u.weight F8_E4M3 [384,1] = u.weight@384+384\n"
	 "u.weight_scale_inv F32 [3,1] = u.weight_scale_inv@12+12\n"
	 "d.weight F8_E4M3 [1,384] = d.weight@384+384\n"
	 "d.weight_scale_inv F32 [1,3] = d.weight_scale_inv@12+12\n",
	 0, NULL},
	{"blocks of 16 of two values a byte, rows too", DIVISOR, NULL,
	 "u.weight U8 [96,8]\nu.weight_scale F8_E4M3 [96,1]\n"
	 "d.weight U8 [2,48]\nd.weight_scale F8_E4M3 [2,6]\n",
	 4, 1, 0, 0,
	 "u.weight U8 [48,8] = u.weight@384+384\nu.weight_scale F8_E4M3 [48,1] = "
	 "u.weight_scale@48+48\n"
	 "d.weight U8 [2,24] = d.weight@24+48*2/48\nd.weight_scale F8_E4M3 [2,3] = "
	 "d.weight_scale@3+6*2/6\n",
	 0, NULL},
	{"no whole blocks", DIVISOR, NULL,
	 "u.weight F8_E4M3 [200,1]\nu.weight_scale_inv F32 [2,1]\n", 4, 1, 0, 0,
	 "tensor 'u.weight' has dimension 0 of 200, which are no whole blocks of 128", EINVAL,
	 NULL},
};

int main(void)
{
	static const struct rows tables[] = {
		{"stack", stacks, sizeof(stacks) / sizeof(*stacks), WLOAD_NAMES_FUSED},
		{"packed", packed, sizeof(packed) / sizeof(*packed), WLOAD_NAMES_FUSED},
		{"scale", scales, sizeof(scales) / sizeof(*scales), WLOAD_NAMES_FUSED},
		{"also", also, sizeof(also) / sizeof(*also), WLOAD_NAMES_FUSED},
		{"divisor", divisors, sizeof(divisors) / sizeof(*divisors), WLOAD_NAMES_FUSED},
		{"layout", layouts, sizeof(layouts) / sizeof(*layouts), WLOAD_NAMES_FUSED},
	};
	struct tap tap = {0};

	check_rows(&tap, tables, sizeof(tables) / sizeof(*tables));
	check_uses(&tap);
	check_pieces(&tap);
	return tap_done(&tap);
}
