/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of all experts: stacks of them, in placement where there are rows to place and by steps
 * where there are none; and a rank's part of them as they are. */

#include <errno.h>

#include "plan_rows.h"

#define EXPERTS(t, parts, more) \
	"{\"tensor\": \"" t "\", \"within\": \"m.e\", \"parts\": [" parts "], \"leaf\": " more "}"
#define MINE(experts)                                                                           \
	"{\"family\": \"mine\", \"model_types\": [\"m\"], \"apart\": [\"eye\"], \"experts\": "  \
	"[" experts "], \"stack\": [{\"into\": \"w31\", \"from\": [\"u\", \"g\"], \"within\": " \
	"\"m.e\", \"along\": \"column\"}, {\"into\": \"w2\", \"from\": [\"d\"], "               \
	"\"within\": \"m.e\", \"along\": \"row\"}], \"fuse\": [{\"into\": \"qk\", "             \
	"\"from\": [\"q\", \"k\"], \"within\": \"a\"}], \"split\": [{\"modules\": "             \
	"[\"a.q\", \"a.k\"], \"along\": \"column\"}, {\"modules\": [\"a\"], \"along\": "        \
	"\"heads\", \"head\": [1], \"leaves\": [\"sinks\"]}]}"
#define GU "\"g\", \"u\""
#define HALVES                                             \
	MINE(EXPERTS("gu", GU, "\"weight\"") ", " EXPERTS( \
		"gu_s", GU, "\"weight_scale_inv\"") ", " EXPERTS("dn", "\"d\"", "\"weight\""))
#define TURNED                                                                   \
	MINE(EXPERTS("gu", GU, "\"weight\", \"transposed\": true") ", " EXPERTS( \
		"dn", "\"d\"", "\"weight\", \"transposed\": true"))
#define MIXED                                                                                      \
	MINE(EXPERTS("gu", GU, "\"weight\", \"interleaved\": true") ", " EXPERTS(                  \
		"gu_b", GU,                                                                        \
		"\"bias\", \"interleaved\": true") ", " EXPERTS("dn", "\"d\"",                     \
								"\"weight\"") ", " EXPERTS("dn_s", \
											   "\"d"   \
											   "\"",   \
											   "\"wei" \
											   "ght_"  \
											   "scale" \
											   "\""))
#define BOTH MINE(EXPERTS("gu", GU, "\"weight\", \"interleaved\": true, \"transposed\": true"))

static const struct row stacks[] = {
	{"halves are placed, up before gate", HALVES, NULL,
	 "m.e.gu BF16 [2,4,3]\nm.e.dn BF16 [2,3,2]\n", 0, 0, 0, 0,
	 "m.e.w31_weight BF16 [2,4,3] = m.e.gu@12+12 + m.e.gu@0+12 + m.e.gu@36+12 + m.e.gu@24+12\n"
	 "m.e.w2_weight BF16 [2,3,2] = m.e.dn@0+24\n",
	 0, NULL},
	{"halves are cut each by itself", HALVES, NULL, "m.e.gu U8 [1,4,3]\nm.e.dn U8 [1,3,2]\n", 2,
	 1, 0, 0,
	 "m.e.w31_weight U8 [1,2,3] = m.e.gu@9+3 + m.e.gu@3+3\n"
	 "m.e.w2_weight U8 [1,3,1] = m.e.dn@1+3*3/2\n",
	 0, NULL},
	{"a rank's own experts", HALVES, NULL, "m.e.gu U8 [2,4,3]\n", 2, 1, 2, 0,
	 "m.e.w31_weight U8 [1,4,3] = m.e.gu@18+6 + m.e.gu@12+6\n", 0, NULL},
	{"scales of halves", HALVES, NULL, "m.e.gu F8_E4M3 [1,512,1]\nm.e.gu_s F32 [1,4,1]\n", 2, 1,
	 0, 0,
	 "m.e.w31_weight F8_E4M3 [1,256,1] = m.e.gu@384+128 + m.e.gu@128+128\n"
	 "m.e.w31_weight_scale_inv F32 [1,2,1] = m.e.gu_s@12+4 + m.e.gu_s@4+4\n",
	 0, NULL},
	{"a block that is of both halves", HALVES, NULL,
	 "m.e.gu F8_E4M3 [1,200,1]\nm.e.gu_s F32 [1,2,1]\n", 0, 0, 0, 0,
	 "m.e.gu F8_E4M3 [1,200,1] = m.e.gu@0+200\nm.e.gu_s F32 [1,2,1] = m.e.gu_s@0+8\n", 0,
	 "scales 100 rows past a whole block"},
	{"transposed: staged at once, a step each", TURNED, NULL, "m.e.gu BF16 [1,3,4]\n", 0, 0, 0,
	 0,
	 "m.e.w31_weight BF16 [1,4,3] = m.e.gu@0+24\n : transpose 4>0 [2,3] 1,4>3,1\n"
	 " : transpose 0>12 [2,3] 1,4>3,1\n",
	 0, NULL},
	{"transposed: a rank's columns of each half", TURNED, NULL, "m.e.gu BF16 [1,3,8]\n", 2, 1,
	 0, 0,
	 "m.e.w31_weight BF16 [1,4,3] = m.e.gu@4+12*3/16 + m.e.gu@12+12*3/16\n"
	 " : transpose 16>0 [2,3] 1,2>3,1\n : transpose 0>12 [2,3] 1,2>3,1\n",
	 0, NULL},
	{"transposed: a rank's rows", TURNED, NULL, "m.e.dn BF16 [2,4,3]\n", 2, 1, 0, 0,
	 "m.e.w2_weight BF16 [2,3,2] = m.e.dn@12+12 + m.e.dn@36+12\n"
	 " : transpose 0>0 [3,2] 1,3>2,1\n : transpose 16>12 [3,2] 1,3>2,1\n",
	 0, NULL},
	{"interleaved rows of many bytes are placed", MIXED, NULL, "m.e.gu U8 [1,4,16,32]\n", 0, 0,
	 0, 0, "m.e.w31_weight U8 [1,4,512] = m.e.gu@512+1024*2/1024 + m.e.gu@0+1024*2/1024\n", 0,
	 NULL},
	{"interleaved rows of few bytes are not", MIXED, NULL, "m.e.gu U8 [1,4,3]\n", 0, 0, 0, 0,
	 "m.e.w31_weight U8 [1,4,3] = m.e.gu@0+12\n : deinterleave 3>0 [2,3] 6,1>3,1\n"
	 " : deinterleave 0>6 [2,3] 6,1>3,1\n",
	 0, NULL},
	{"interleaved: both parts' rows of a rank are staged once", MIXED, NULL,
	 "m.e.gu U8 [1,8,3]\nm.e.gu_b BF16 [1,8]\n", 2, 1, 0, 0,
	 "m.e.w31_weight U8 [1,4,3] = m.e.gu@12+12\n : deinterleave 3>0 [2,3] 6,1>3,1\n"
	 " : deinterleave 0>6 [2,3] 6,1>3,1\n"
	 "m.e.w31_bias BF16 [1,4] = m.e.gu_b@8+8\n : deinterleave 2>0 [2] 2>1\n"
	 " : deinterleave 0>4 [2] 2>1\n",
	 0, NULL},
	{"interleaved columns, transposed", BOTH, NULL, "m.e.gu BF16 [1,3,8]\n", 2, 1, 0, 0,
	 "m.e.w31_weight BF16 [1,4,3] = m.e.gu@8+24*3/16\n : transpose 2>0 [2,3] 2,4>3,1\n"
	 " : transpose 0>12 [2,3] 2,4>3,1\n",
	 0, NULL},
	{"long pieces of rows are one source", MIXED, NULL, "m.e.dn U8 [2,2,32768]\n", 2, 1, 0, 0,
	 "m.e.w2_weight U8 [2,2,16384] = m.e.dn@16384+32768*2/32768"
	 " + m.e.dn@81920+32768*2/32768\n",
	 0, NULL},
	{"columns are cut in blocks of their scale", MIXED, NULL,
	 "m.e.dn U8 [1,2,4,16]\nm.e.dn_s U8 [1,2,4]\n", 2, 1, 0, 0,
	 "m.e.w2_weight U8 [1,2,32] = m.e.dn@32+64*2/64\n"
	 "m.e.w2_weight_scale U8 [1,2,2] = m.e.dn_s@2+4*2/4\n",
	 0, NULL},
	{"no rank has a part of a block of columns", MIXED, NULL,
	 "m.e.dn U8 [1,2,3,16]\nm.e.dn_s U8 [1,2,3]\n", 2, 1, 0, 0,
	 "m.e.w2_weight U8 [1,2,16] = m.e.dn@32+32*2/48\n"
	 "m.e.w2_weight_scale U8 [1,2,1] = m.e.dn_s@2+2*2/3\n",
	 0, NULL},
	{"a block is one rank's", MIXED, NULL, "m.e.dn U8 [1,2,1,16]\nm.e.dn_s U8 [1,2,1]\n", 2, 1,
	 0, 0,
	 "m.e.w2_weight U8 [1,2,0] = m.e.dn@0+0\nm.e.w2_weight_scale U8 [1,2,0] = m.e.dn_s@0+0\n",
	 0, NULL},
	{"rows, and their bias, are cut as the columns behind them", MIXED, NULL,
	 "m.e.gu U8 [1,16,1,4]\nm.e.gu_b BF16 [1,16]\n", 2, 1, 0, 0,
	 "m.e.w31_weight U8 [1,0,4] = m.e.gu@0+0\nm.e.w31_bias BF16 [1,0] = m.e.gu_b@0+0\n", 0,
	 NULL},
	{"which has its last rows", MIXED, NULL, "m.e.gu U8 [1,24,1,2]\nm.e.gu_b BF16 [1,24]\n", 2,
	 1, 0, 0,
	 "m.e.w31_weight U8 [1,8,2] = m.e.gu@32+16\n : deinterleave 2>0 [4,2] 4,1>2,1\n"
	 " : deinterleave 0>8 [4,2] 4,1>2,1\n"
	 "m.e.w31_bias BF16 [1,8] = m.e.gu_b@32+16\n : deinterleave 2>0 [4] 2>1\n"
	 " : deinterleave 0>8 [4] 2>1\n",
	 0, NULL},
	{"a share of nothing", TURNED, NULL, "m.e.gu BF16 [1,3,4]\n", 3, 2, 0, 0,
	 "m.e.w31_weight BF16 [1,0,3] = m.e.gu@0+0\n", 0, NULL},
	{"two values a byte can't be transposed", TURNED, NULL, "m.e.gu U8 [1,3,4]\n", 0, 0, 0, 0,
	 "m.e.gu U8 [1,3,4] = m.e.gu@0+12\n", 0, "'m.e.gu' is not what the rules say of it"},
	{"rows that are not two parts", HALVES, NULL, "m.e.gu U8 [1,3,4]\n", 0, 0, 0, 0,
	 "m.e.gu U8 [1,3,4] = m.e.gu@0+12\n", 0, "'m.e.gu' is not what the rules say of it"},
	{"tensors of as many experts", HALVES, NULL, "m.e.gu U8 [2,2,4]\nm.e.gu_s F32 [1,2,1]\n", 0,
	 0, 0, 0, "m.e.gu U8 [2,2,4] = m.e.gu@0+16\nm.e.gu_s F32 [1,2,1] = m.e.gu_s@0+8\n", 0,
	 "'m.e.gu_s' is not what the rules say of it"},
	{"experts by themselves, too", HALVES, NULL, "m.e.gu U8 [1,2,4]\nm.e.0.g.weight U8 [1,4]\n",
	 0, 0, 0, 0,
	 "m.e.gu U8 [1,2,4] = m.e.gu@0+8\nm.e.0.g.weight U8 [1,4] = m.e.0.g.weight@0+4\n", 0,
	 "the rules do not cover 'm.e.gu'"},
	{"more experts than there can be", HALVES, NULL, "m.e.gu U8 [4097,2,1]\n", 0, 0, 0, 0,
	 "m.e.gu U8 [4097,2,1] = m.e.gu@0+8194\n", 0, "'m.e.gu' is not what the rules say of it"},
	{"modules apart are whole, and not joined", HALVES, NULL,
	 "eye.a.q.weight U8 [4,2]\neye.a.k.weight U8 [2,2]\na.q.weight U8 [4,2]\na.k.weight U8 "
	 "[2,2]\n",
	 2, 1, 0, 0,
	 "eye.a.q.weight U8 [4,2] = eye.a.q.weight@0+8\neye.a.k.weight U8 [2,2] = "
	 "eye.a.k.weight@0+4\n"
	 "a.qk.weight U8 [3,2] = a.q.weight@4+4 + a.k.weight@2+2\n",
	 0, NULL},
	{"a head of one row", HALVES, "{\"num_attention_heads\": 4, \"head_dim\": 8}",
	 "a.sinks BF16 [4]\n", 2, 1, 0, 0, "a.sinks BF16 [2] = a.sinks@4+4\n", 0, NULL},
};

static const struct row own[] = {
	{"halves: each is cut, and they are one again", HALVES, NULL, "m.e.gu U8 [2,4,3]\n", 2, 1,
	 0, 0, "m.e.gu U8 [2,2,3] = m.e.gu@3+3 + m.e.gu@9+3 + m.e.gu@15+3 + m.e.gu@21+3\n", 0,
	 NULL},
	{"a rank's own experts", HALVES, NULL, "m.e.gu U8 [2,4,3]\n", 2, 1, 2, 0,
	 "m.e.gu U8 [1,4,3] = m.e.gu@12+12\n", 0, NULL},
	{"one expert", HALVES, NULL, "m.e.gu U8 [1,4,3]\n", 2, 0, 0, 0,
	 "m.e.gu U8 [1,2,3] = m.e.gu@0+3 + m.e.gu@6+3\n", 0, NULL},
	{"transposed halves are put side by side again", TURNED, NULL, "m.e.gu BF16 [1,3,8]\n", 2,
	 1, 0, 0,
	 "m.e.gu BF16 [1,3,4] = m.e.gu@4+12*3/16 + m.e.gu@12+12*3/16\n"
	 " : interleave 0>0 [3,2] 2,1>4,1\n : interleave 16>4 [3,2] 2,1>4,1\n",
	 0, NULL},
	{"transposed rows are placed", TURNED, NULL, "m.e.dn BF16 [2,4,3]\n", 2, 1, 0, 0,
	 "m.e.dn BF16 [2,2,3] = m.e.dn@12+12 + m.e.dn@36+12\n", 0, NULL},
	{"interleaved rows lie together", MIXED, NULL, "m.e.gu U8 [1,8,3]\nm.e.gu_b BF16 [1,8]\n",
	 2, 1, 0, 0, "m.e.gu U8 [1,4,3] = m.e.gu@12+12\nm.e.gu_b BF16 [1,4] = m.e.gu_b@8+8\n", 0,
	 NULL},
	{"interleaved rows of many bytes, too", MIXED, NULL, "m.e.gu U8 [1,16,128,4]\n", 2, 0, 0, 0,
	 "m.e.gu U8 [1,16,128,4] = m.e.gu@0+8192\n", 0, NULL},
	{"interleaved columns lie together", BOTH, NULL, "m.e.gu BF16 [1,3,8]\n", 2, 1, 0, 0,
	 "m.e.gu BF16 [1,3,4] = m.e.gu@8+24*3/16\n", 0, NULL},
	{"columns are cut in whole blocks", MIXED, NULL, "m.e.dn U8 [1,2,4,16]\n", 2, 1, 0, 0,
	 "m.e.dn U8 [1,2,2,16] = m.e.dn@32+64*2/64\n", 0, NULL},
	{"and not inside one", MIXED, NULL, "m.e.dn U8 [1,2,3,16]\n", 2, 1, 0, 0,
	 "m.e.dn U8 [1,2,1,16] = m.e.dn@32+32*2/48\n", 0, NULL},
};

int main(void)
{
	static const struct rows tables[] = {
		{"experts", stacks, sizeof(stacks) / sizeof(*stacks), WLOAD_NAMES_FUSED},
		{"own", own, sizeof(own) / sizeof(*own), WLOAD_NAMES_HF},
	};
	struct tap tap = {0};

	check_rows(&tap, tables, sizeof(tables) / sizeof(*tables));
	return tap_done(&tap);
}
