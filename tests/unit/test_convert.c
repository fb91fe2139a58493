/* SPDX-License-Identifier: Apache-2.0 */
/* What parameters are made by, where values have to be changed: which steps, of which staged bytes.
 * That the numbers are right is tests/oracles/conversions_agree.py's. */

#include <errno.h>

#include "loader/base/cleanup.h"
#include "plan_pieces.h"
#include "plan_world.h"
#include "tap.h"

#define RULES                                                                                      \
	"{\"family\": \"x\", \"model_types\": [\"x\"], "                                           \
	"\"fuse\": [{\"into\": \"gu\", \"from\": [\"g\", \"u\"], \"within\": \"m\"}, "             \
	"{\"into\": \"ab\", \"from\": [\"a\", \"b\"], \"within\": \"m\", \"requantise\": true}], " \
	"\"stack\": [{\"into\": \"w13\", \"from\": [\"g\", \"u\"], \"within\": \"e\", "            \
	"\"along\": \"column\", \"every_rank\": [\"input_scale\"]}, {\"into\": \"w2\", "           \
	"\"from\": [\"d\"], \"within\": \"e\", \"along\": \"row\", "                               \
	"\"every_rank\": [\"input_scale\"]}], "                                                    \
	"\"split\": [{\"modules\": [\"g\", \"u\", \"a\", \"b\"], \"along\": \"column\"}, "         \
	"{\"modules\": [\"d\", \"o\"], \"along\": \"row\"}]}"

/* The tensors of a module. */
#define NVFP4(m)                                                                                 \
	m ".weight U8 [4,16]\n" m ".weight_scale F8_E4M3 [4,2]\n" m ".weight_scale_2 F32 []\n" m \
	  ".input_scale F32 []\n"
#define FP8_ONE(m) m ".weight F8_E4M3 [4,8]\n" m ".weight_scale F32 []\n" m ".input_scale F32 []\n"

struct conversion {
	const char *name, *tensors;
	struct wload_plan_options options; /* but for the rules */
	const char *want;		   /* lines; of a refusal part of the message */
	int code;			   /* of a refusal */
	uint32_t unused;		   /* tensors */
};

static const struct conversion merged[] = {
	{"dense NVFP4: values must be equal",
	 NVFP4("m.g") NVFP4("m.u"),
	 {0},
	 "m.gu.weight U8 [8,16] = m.g.weight@0+64 + m.u.weight@0+64\n"
	 "m.gu.weight_scale F8_E4M3 [8,2] = m.g.weight_scale@0+8 + m.u.weight_scale@0+8\n"
	 "m.gu.weight_scale_2 F32 [] = m.g.weight_scale_2@0+4 + m.u.weight_scale_2@0+4\n"
	 " : equal 0>0 [] > of 2\n"
	 "m.gu.input_scale F32 [] = m.g.input_scale@0+4 + m.u.input_scale@0+4\n"
	 " : equal 0>0 [] > of 2\n",
	 0,
	 0},
	{"a rule that says so: weights of the largest value",
	 NVFP4("m.a") NVFP4("m.b"),
	 {0},
	 "m.ab.weight U8 [8,16] = m.a.weight@0+64 + m.b.weight@0+64 + m.a.weight_scale@0+8 + "
	 "m.b.weight_scale@0+8 + m.a.weight_scale_2@0+4 + m.b.weight_scale_2@0+4\n"
	 " : requantise 0>0 [4,32] 32,1>32,1 scale 128/1,16/2,1, 144, max of 2 at 144\n"
	 " : requantise 64>64 [4,32] 32,1>32,1 scale 136/1,16/2,1, 148, max of 2 at 144\n"
	 "m.ab.weight_scale F8_E4M3 [8,2] = m.a.weight@0+64 + m.b.weight@0+64 + "
	 "m.a.weight_scale@0+8 + m.b.weight_scale@0+8 + m.a.weight_scale_2@0+4 + "
	 "m.b.weight_scale_2@0+4\n"
	 " : requantise 0>0 [4,2] 32,16>2,1 scale 128/1,1/2,1, 144, max of 2 at 144\n"
	 " : requantise 64>8 [4,2] 32,16>2,1 scale 136/1,1/2,1, 148, max of 2 at 144\n"
	 "m.ab.weight_scale_2 F32 [] = m.a.weight_scale_2@0+4 + m.b.weight_scale_2@0+4\n"
	 " : max 0>0 [] > of 2\n"
	 "m.ab.input_scale F32 [] = m.a.input_scale@0+4 + m.b.input_scale@0+4\n"
	 " : max 0>0 [] > of 2\n",
	 0,
	 0},
	{"dense FP8 of one value: weights of the largest",
	 FP8_ONE("m.g") FP8_ONE("m.u"),
	 {0},
	 "m.gu.weight F8_E4M3 [8,8] = m.g.weight@0+32 + m.u.weight@0+32 + m.g.weight_scale@0+4 + "
	 "m.u.weight_scale@0+4\n"
	 " : requantise 0>0 [4,8] 8,1>8,1 scale 64/1,1/0,0, max of 2 at 64\n"
	 " : requantise 32>32 [4,8] 8,1>8,1 scale 68/1,1/0,0, max of 2 at 64\n"
	 "m.gu.weight_scale F32 [] = m.g.weight_scale@0+4 + m.u.weight_scale@0+4\n"
	 " : max 0>0 [] > of 2\n"
	 "m.gu.input_scale F32 [] = m.g.input_scale@0+4 + m.u.input_scale@0+4\n"
	 " : max 0>0 [] > of 2\n",
	 0,
	 0},
	{"experts of NVFP4: an expert's parts, and all experts' inputs",
	 NVFP4("e.0.g") NVFP4("e.0.u") NVFP4("e.1.g") NVFP4("e.1.u"),
	 {.tp = 2, .rank = 1, .ep = 2},
	 "e.w13_input_scale F32 [] = e.0.g.input_scale@0+4 + e.0.u.input_scale@0+4 + "
	 "e.1.g.input_scale@0+4 + e.1.u.input_scale@0+4\n"
	 " : max 0>0 [] > of 4\n"
	 "e.w13_weight U8 [1,8,16] = e.1.g.weight@0+64 + e.1.u.weight@0+64\n"
	 "e.w13_weight_scale F8_E4M3 [1,8,2] = e.1.g.weight_scale@0+8 + e.1.u.weight_scale@0+8\n"
	 "e.w13_weight_scale_2 F32 [1] = e.1.g.weight_scale_2@0+4 + e.1.u.weight_scale_2@0+4\n"
	 " : max 0>0 [] > of 2\n",
	 0,
	 0},
	{"experts of FP8 of one value",
	 FP8_ONE("e.0.g") FP8_ONE("e.0.u") FP8_ONE("e.1.g") FP8_ONE("e.1.u"),
	 {.tp = 2},
	 "e.w13_weight F8_E4M3 [2,4,8] = e.0.g.weight@0+16 + e.0.u.weight@0+16 + "
	 "e.1.g.weight@0+16 + e.1.u.weight@0+16 + e.0.g.weight_scale@0+4 + "
	 "e.0.u.weight_scale@0+4 + e.1.g.weight_scale@0+4 + e.1.u.weight_scale@0+4\n"
	 " : requantise 0>0 [2,8] 8,1>8,1 scale 64/1,1/0,0, max of 2 at 64\n"
	 " : requantise 16>16 [2,8] 8,1>8,1 scale 68/1,1/0,0, max of 2 at 64\n"
	 " : requantise 32>32 [2,8] 8,1>8,1 scale 72/1,1/0,0, max of 2 at 72\n"
	 " : requantise 48>48 [2,8] 8,1>8,1 scale 76/1,1/0,0, max of 2 at 72\n"
	 "e.w13_weight_scale F32 [2] = e.0.g.weight_scale@0+4 + e.0.u.weight_scale@0+4 + "
	 "e.1.g.weight_scale@0+4 + e.1.u.weight_scale@0+4\n"
	 " : max 0>0 [2] 2>1 of 2\n"
	 "e.w13_input_scale F32 [] = e.0.g.input_scale@0+4 + e.0.u.input_scale@0+4 + "
	 "e.1.g.input_scale@0+4 + e.1.u.input_scale@0+4\n"
	 " : max 0>0 [] > of 4\n",
	 0,
	 0},
	{"one part: what it is stays",
	 "e.0.d.weight F8_E4M3 [2,4]\ne.0.d.weight_scale F32 []\n",
	 {0},
	 "e.w2_weight F8_E4M3 [1,2,4] = e.0.d.weight@0+8\n"
	 "e.w2_weight_scale F32 [1] = e.0.d.weight_scale@0+4\n",
	 0,
	 0},
	{"a rule that says so, and values that are several, or none: parts follow each other",
	 "m.a.weight U8 [4,8]\nm.a.weight_scale F8_E4M3 [4,1]\nm.a.weight_scale_2 F32 [2]\n"
	 "m.b.weight U8 [4,8]\nm.b.weight_scale F8_E4M3 [4,1]\nm.b.weight_scale_2 F32 [0]\n",
	 {0},
	 "m.ab.weight U8 [8,8] = m.a.weight@0+32 + m.b.weight@0+32\n"
	 "m.ab.weight_scale F8_E4M3 [8,1] = m.a.weight_scale@0+4 + m.b.weight_scale@0+4\n"
	 "m.ab.weight_scale_2 F32 [2] = m.a.weight_scale_2@0+8 + m.b.weight_scale_2@0+0\n",
	 0,
	 0},
	{"a rule that says so, and the first value alone is one",
	 "m.a.weight U8 [4,8]\nm.a.weight_scale F8_E4M3 [4,1]\nm.a.weight_scale_2 F32 [1]\n"
	 "m.b.weight U8 [4,8]\nm.b.weight_scale F8_E4M3 [4,1]\nm.b.weight_scale_2 F32 [0]\n",
	 {0},
	 "m.ab.weight U8 [8,8] = m.a.weight@0+32 + m.b.weight@0+32\n"
	 "m.ab.weight_scale F8_E4M3 [8,1] = m.a.weight_scale@0+4 + m.b.weight_scale@0+4\n"
	 "m.ab.weight_scale_2 F32 [1] = m.a.weight_scale_2@0+4 + m.b.weight_scale_2@0+0\n",
	 0,
	 0},
	{"FP8 of one value, and of one for each row",
	 "m.g.weight F8_E4M3 [1,4]\nm.g.weight_scale F32 [1]\n"
	 "m.u.weight F8_E4M3 [3,4]\nm.u.weight_scale F32 [3]\n",
	 {0},
	 "m.gu.weight F8_E4M3 [4,4] = m.g.weight@0+4 + m.u.weight@0+12\n"
	 "m.gu.weight_scale F32 [4] = m.g.weight_scale@0+4 + m.u.weight_scale@0+12\n",
	 0,
	 0},
	{"values that can't be made anew by stay",
	 "m.g.weight F8_E4M3 [2,4]\n"
	 "m.u.weight F8_E4M3 [2,4]\nm.g.weight_scale BF16 []\nm.u.weight_scale BF16 []\n",
	 {0},
	 "m.gu.weight F8_E4M3 [4,4] = m.g.weight@0+8 + m.u.weight@0+8\n"
	 "m.g.weight_scale BF16 [] = m.g.weight_scale@0+2\n"
	 "m.u.weight_scale BF16 [] = m.u.weight_scale@0+2\n",
	 0,
	 0},
};

static const struct conversion dequantised[] = {
	{"FP8 in blocks, the last ones short",
	 "x.weight F8_E4M3 [200,136]\nx.weight_scale_inv F32 [2,2]\n",
	 {.dequantise = true},
	 "x.weight BF16 [200,136] = x.weight@0+27200 + x.weight_scale_inv@0+16\n"
	 " : dequantise 0>0 [200,136] 136,1>136,1 scale 27200/128,128/2,1\n",
	 0,
	 0},
	{"FP8 in blocks of 96: a rank's rows do not tell",
	 "g.weight F8_E4M3 [384,96]\ng.weight_scale BF16 [4,1]\n",
	 {.tp = 2, .rank = 1, .dequantise = true, .dtype = WLOAD_DTYPE_F16},
	 "g.weight F16 [192,96] = g.weight@18432+18432 + g.weight_scale@4+4\n"
	 " : dequantise 0>0 [192,96] 96,1>96,1 scale 18432/96,96/1,1\n",
	 0,
	 0},
	{"modelopt's dimensions of 1",
	 "x.weight F8_E4M3 [256,128]\nx.weight_scale F32 [2,1,1,1]\n",
	 {.dequantise = true},
	 "x.weight BF16 [256,128] = x.weight@0+32768 + x.weight_scale@0+8\n"
	 " : dequantise 0>0 [256,128] 128,1>128,1 scale 32768/128,128/1,1\n",
	 0,
	 0},
	{"a value a row",
	 "x.weight F8_E4M3 [3,8]\nx.weight_scale F32 [3]\nx.input_scale F32 []\n",
	 {.dequantise = true},
	 "x.weight BF16 [3,8] = x.weight@0+24 + x.weight_scale@0+12\n"
	 " : dequantise 0>0 [3,8] 8,1>8,1 scale 32/1,8/1,1\n",
	 0,
	 1},
	{"parts of one value each, not made anew",
	 FP8_ONE("m.g") FP8_ONE("m.u"),
	 {.dequantise = true, .dtype = WLOAD_DTYPE_F32},
	 "m.gu.weight F32 [8,8] = m.g.weight@0+32 + m.u.weight@0+32 + m.g.weight_scale@0+4 + "
	 "m.u.weight_scale@0+4\n"
	 " : dequantise 0>0 [4,8] 8,1>8,1 scale 64/1,1/0,0\n"
	 " : dequantise 32>128 [4,8] 8,1>8,1 scale 68/1,1/0,0\n",
	 0,
	 2},
	{"NVFP4: a value of each expert and part",
	 NVFP4("e.0.g") NVFP4("e.0.u") NVFP4("e.1.g") NVFP4("e.1.u"),
	 {.tp = 2, .rank = 1, .ep = 2, .dequantise = true},
	 "e.w13_weight BF16 [1,8,32] = e.1.g.weight@0+64 + e.1.u.weight@0+64 + "
	 "e.1.g.weight_scale@0+8 + e.1.u.weight_scale@0+8 + e.1.g.weight_scale_2@0+4 + "
	 "e.1.u.weight_scale_2@0+4\n"
	 " : dequantise 0>0 [4,32] 32,1>32,1 scale 128/1,16/2,1, 144\n"
	 " : dequantise 64>256 [4,32] 32,1>32,1 scale 136/1,16/2,1, 148\n",
	 0,
	 4},
	{"MXFP4",
	 "x.weight U8 [2,32]\nx.weight_scale U8 [2,2]\n",
	 {.dequantise = true},
	 "x.weight BF16 [2,64] = x.weight@0+64 + x.weight_scale@0+4\n"
	 " : dequantise 0>0 [2,64] 64,1>64,1 scale 64/1,32/2,1\n",
	 0,
	 0},
	{"a rank that has nothing of it",
	 "g.weight F8_E4M3 [2,8]\ng.weight_scale F32 [2,1]\n",
	 {.tp = 4, .rank = 3, .dequantise = true},
	 "g.weight BF16 [0,8] = g.weight@0+0\n",
	 0,
	 0},
	{"what is not quantised stays",
	 "x.weight BF16 [2]\ny.weight U8 [3]\n",
	 {.dequantise = true},
	 "x.weight BF16 [2] = x.weight@0+4\ny.weight U8 [3] = y.weight@0+3\n",
	 0,
	 0},
	{"FP8 without a scale",
	 "x.weight F8_E4M3 [2,2]\n",
	 {.dequantise = true},
	 "'x.weight' can't be dequantised: it has no scale beside it",
	 EOPNOTSUPP,
	 0},
	{"blocks as they are stored",
	 "x_blocks U8 [2,2,16]\nx_scales U8 [2,2]\n",
	 {.dequantise = true},
	 "'x_blocks' can't be dequantised: its experts are not stacked",
	 EOPNOTSUPP,
	 0},
	{"scales of a type that is not known",
	 "x.weight I8 [2,2]\nx.weight_scale F32 []\n",
	 {.dequantise = true},
	 "'x.weight' can't be dequantised: no way is known of I8 with F32 as 'x.weight_scale'",
	 EOPNOTSUPP,
	 0},
	{"a scale of scales that is not F32",
	 "x.weight U8 [2,8]\nx.weight_scale F8_E4M3 [2,1]\n"
	 "x.weight_scale_2 BF16 []\n",
	 {.dequantise = true},
	 "'x.weight' can't be dequantised: 'x.weight_scale_2' is BF16, not F32",
	 EOPNOTSUPP,
	 0},
	{"a scale of scales that is no value",
	 "x.weight U8 [2,8]\nx.weight_scale F8_E4M3 [2,1]\nx.weight_scale_2 F32 [0]\n",
	 {.dequantise = true},
	 "'x.weight' can't be dequantised: the values that scale it are none",
	 EOPNOTSUPP,
	 0},
	{"experts whose scales of scales are no values",
	 "e.0.d.weight U8 [2,8]\ne.0.d.weight_scale F8_E4M3 [2,1]\n"
	 "e.0.d.weight_scale_2 F32 [0]\n",
	 {.dequantise = true},
	 "'e.w2_weight' can't be dequantised: the values that scale it are none",
	 EOPNOTSUPP,
	 0},
	{"scales of blocks that are none",
	 "x.weight F8_E4M3 [2,8]\nx.weight_scale F32 [0]\n",
	 {.dequantise = true},
	 "the sizes do not tell which scale is of which block",
	 EOPNOTSUPP,
	 0},
	{"sizes that tell no blocks",
	 "x.weight F8_E4M3 [7,8]\nx.weight_scale F32 [3,1]\n",
	 {.dequantise = true},
	 "the sizes do not tell which scale is of which block",
	 EOPNOTSUPP,
	 0},
	{"blocks of NVFP4 that are not of 16",
	 "x.weight U8 [2,8]\nx.weight_scale F8_E4M3 [2,2]\n"
	 "x.weight_scale_2 F32 []\n",
	 {.dequantise = true},
	 "the sizes do not tell which scale is of which block",
	 EOPNOTSUPP,
	 0},
	{"a scale of other dimensions",
	 "x.weight F8_E4M3 [4,8]\nx.weight_scale F32 [2,2,2]\n",
	 {.dequantise = true},
	 "its scale's dimensions do not tell what each value is of",
	 EOPNOTSUPP,
	 0},
};

static const struct conversion cast[] = {
	{"numbers are cast, parts by themselves",
	 "m.g.weight BF16 [2,2]\nm.u.weight BF16 [3,2]\nx F32 [2]\ny I32 [1]\nz F16 [1]\n",
	 {.dtype = WLOAD_DTYPE_F16},
	 "m.gu.weight F16 [5,2] = m.g.weight@0+8 + m.u.weight@0+12\n"
	 " : cast 0>0 [4] 1>1\n : cast 8>8 [6] 1>1\n"
	 "x F16 [2] = x@0+8\n : cast 0>0 [2] 1>1\n"
	 "y I32 [1] = y@0+4\nz F16 [1] = z@0+2\n",
	 0,
	 0},
	{"scales, and what routers are corrected by, stay",
	 NVFP4("x") "r.e_score_correction_bias F32 [2]\nk.k_scale F32 []\n",
	 {.dtype = WLOAD_DTYPE_BF16},
	 "x.weight U8 [4,16] = x.weight@0+64\nx.weight_scale F8_E4M3 [4,2] = x.weight_scale@0+8\n"
	 "x.weight_scale_2 F32 [] = x.weight_scale_2@0+4\nx.input_scale F32 [] = "
	 "x.input_scale@0+4\n"
	 "r.e_score_correction_bias F32 [2] = r.e_score_correction_bias@0+8\n"
	 "k.k_scale F32 [] = k.k_scale@0+4\n",
	 0,
	 0},
	{"to what it is",
	 "x BF16 [2]\n",
	 {.dtype = WLOAD_DTYPE_BF16},
	 "x BF16 [2] = x@0+4\n",
	 0,
	 0},
	{"an empty one",
	 "x F32 [0,2]\n",
	 {.dtype = WLOAD_DTYPE_BF16},
	 "x BF16 [0,2] = x@0+0\n",
	 0,
	 0},
	{"to what is no number",
	 "x BF16 [2]\n",
	 {.dtype = WLOAD_DTYPE_I8},
	 "data type 5 is none of BF16, F16, F32",
	 EINVAL,
	 0},
};

static const struct conversion swizzled[] = {
	{"whole tiles",
	 "x.weight U8 [256,64]\nx.weight_scale F8_E4M3 [256,8]\n",
	 {.swizzle = true},
	 "x.weight U8 [256,64] = x.weight@0+16384\n"
	 "x.weight_scale F8_E4M3 [256,8] = x.weight_scale@0+2048\n"
	 " : swizzle 0>0 [2,2,32,4,4] 1024,4,8,256,1>1024,512,16,4,1\n",
	 0,
	 0},
	{"rows and columns past them",
	 "x.weight U8 [165,40]\nx.weight_scale F8_E4M3 [165,5]\n",
	 {.swizzle = true},
	 "x.weight U8 [165,40] = x.weight@0+6600\n"
	 "x.weight_scale F8_E4M3 [256,8] = x.weight_scale@0+825\n"
	 " : swizzle 0>0 [32,4,4] 5,160,1>16,4,1\n"
	 " : swizzle 4>512 [32,4] 5,160>16,4\n"
	 " : swizzle 640>1024 [32,4] 5,1>16,1\n"
	 " : swizzle 800>1028 [5,4] 5,1>16,1\n"
	 " : swizzle 644>1536 [32] 5>16\n"
	 " : swizzle 804>1540 [5] 5>16\n",
	 0,
	 0},
	{"each expert by itself",
	 "e.0.g.weight U8 [2,32]\ne.0.u.weight U8 [2,32]\ne.0.g.weight_scale F8_E4M3 [2,4]\n"
	 "e.0.u.weight_scale F8_E4M3 [2,4]\ne.1.g.weight U8 [2,32]\ne.1.u.weight U8 [2,32]\n"
	 "e.1.g.weight_scale F8_E4M3 [2,4]\ne.1.u.weight_scale F8_E4M3 [2,4]\n",
	 {.swizzle = true},
	 "e.w13_weight U8 [2,4,32] = e.0.g.weight@0+64 + e.0.u.weight@0+64 + e.1.g.weight@0+64 + "
	 "e.1.u.weight@0+64\n"
	 "e.w13_weight_scale F8_E4M3 [2,128,4] = e.0.g.weight_scale@0+8 + e.0.u.weight_scale@0+8 + "
	 "e.1.g.weight_scale@0+8 + e.1.u.weight_scale@0+8\n"
	 " : swizzle 0>0 [4,4] 4,1>16,1\n : swizzle 16>512 [4,4] 4,1>16,1\n",
	 0,
	 0},
	{"scales of other weights stay",
	 "x.weight F8_E4M3 [4,16]\nx.weight_scale F32 [4,1]\ny.weight U8 [2,32]\n"
	 "y.weight_scale U8 [2,2]\n",
	 {.swizzle = true},
	 "x.weight F8_E4M3 [4,16] = x.weight@0+64\nx.weight_scale F32 [4,1] = x.weight_scale@0+16\n"
	 "y.weight U8 [2,32] = y.weight@0+64\ny.weight_scale U8 [2,2] = y.weight_scale@0+4\n",
	 0,
	 0},
};

/* Sources lie in the staging area without overlap, 16 bytes apart or less where there is a gap; and
 * steps come in the order of their bytes. */
static const char *staging_wrong(const struct wload_plan *plan)
{
	for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
		const struct wload_param *p = wload_plan_param(plan, i);
		uint64_t at = 0, sum = 0;

		for (uint32_t s = 0; p->step_count && s < p->source_count; s++) {
			if (p->sources[s].dst_offset < at || p->sources[s].dst_offset >= at + 16)
				return "sources overlap, or lie apart";
			at = p->sources[s].dst_offset + p->sources[s].bytes;
			sum += p->sources[s].bytes;
		}
		if (p->step_count && (at > p->staged_bytes || sum != p->source_bytes))
			return "the staging area is not what the sources take";
		for (uint32_t s = 1; s < p->step_count; s++)
			if (p->steps[s].out < p->steps[s - 1].out)
				return "steps are not in the order of their bytes";
	}
	return NULL;
}

/* How often each tensor is needed is how many parameters have it as a source. */
static const char *uses_wrong(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	for (uint32_t t = 0; t < wload_inventory_count(inv); t++) {
		uint32_t uses = 0;

		for (uint32_t i = 0; i < wload_plan_count(plan); i++) {
			const struct wload_param *p = wload_plan_param(plan, i);
			bool has = false;

			for (uint32_t s = 0; s < p->source_count; s++)
				has |= p->sources[s].tensor == t;
			uses += has;
		}
		if (uses != wload_plan_uses(plan, t))
			return "the uses of a tensor are wrong";
	}
	return NULL;
}

static uint32_t count_unused(const struct wload_inventory *inv, const struct wload_plan *plan)
{
	uint32_t unused = 0;

	for (uint32_t t = 0; t < wload_inventory_count(inv); t++)
		unused += wload_plan_unused(plan, t);
	return unused;
}

static bool as_wanted(const struct conversion *c, const struct wload_inventory *inv,
		      const struct wload_plan *plan)
{
	char *got CLEANUP_FREE = pieces_text(inv, plan);
	const char *wrong = staging_wrong(plan);

	if (!wrong)
		wrong = uses_wrong(inv, plan);
	if (!wrong && !c->code && !strcmp(got, c->want) && count_unused(inv, plan) == c->unused)
		return true;
	printf("# %s, %u unused\n%s# wanted:\n%s", wrong ? wrong : "", count_unused(inv, plan), got,
	       c->want);
	return false;
}

static void check(struct tap *tap, const char *what, const struct conversion *rows, size_t count)
{
	struct wload_rules *rules = NULL;

	if (wload_rules_parse(RULES, strlen(RULES), "x", &rules, NULL) < 0)
		world_wrong("the rules do not parse");
	for (size_t i = 0; i < count; i++) {
		struct wload_inventory *inv = world_inventory(rows[i].tensors);
		struct wload_plan_options options = rows[i].options;
		struct wload_plan *plan = NULL;
		struct wload_error err = {0};
		int r;

		options.rules = rules;
		r = wload_plan_build(inv, NULL, &options, &plan, &err);
		if (r < 0 && (r != -rows[i].code || !strstr(err.text, rows[i].want)))
			printf("# %s\n", err.text);
		ok(tap,
		   r < 0 ? r == -rows[i].code && strstr(err.text, rows[i].want)
			 : as_wanted(&rows[i], inv, plan),
		   "%s: %s", what, rows[i].name);
		wload_plan_free(plan);
		inventory_free(inv);
	}
	wload_rules_free(rules);
}

#define CHECK(tap, what, rows) check(tap, what, rows, sizeof(rows) / sizeof(*(rows)))

int main(void)
{
	struct tap tap = {0};

	CHECK(&tap, "merged", merged);
	CHECK(&tap, "dequantised", dequantised);
	CHECK(&tap, "cast", cast);
	CHECK(&tap, "swizzled", swizzled);
	return tap_done(&tap);
}
