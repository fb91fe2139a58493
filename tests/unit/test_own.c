/* SPDX-License-Identifier: Apache-2.0 */
/* Plans of the checkpoint's own names: what one rank has of each tensor. */

#include <errno.h>

#include "plan_rows.h"

#define RULES(x) "{\"family\": \"mine\", \"model_types\": [\"m\"], " x "}"
#define MINE                                                                              \
	RULES("\"packed\": [{\"module\": \"qkv\", \"within\": \"a\", \"parts\": [\"q\", " \
	      "\"k\"], \"shares\": [\"heads\", 1], \"each\": \"groups\"}], "              \
	      "\"fuse\": [{\"into\": \"qkv\", \"from\": [\"q\", \"k\"], \"within\": "     \
	      "\"a\"}], "                                                                 \
	      "\"stack\": [{\"into\": \"w13\", \"from\": [\"g\", \"u\"], \"within\": "    \
	      "\"m.e\", \"along\": \"column\", \"every_rank\": [\"input_scale\"]}, "      \
	      "{\"into\": \"w2\", \"from\": [\"d\"], \"within\": \"m.e\", \"along\": "    \
	      "\"row\"}], "                                                               \
	      "\"split\": [{\"modules\": [\"q\", \"k\"], \"along\": \"column\"}, "        \
	      "{\"modules\": [\"o\"], \"along\": \"row\"}], "                             \
	      "\"tied\": [{\"when\": \"tie\", \"skip\": \"head.weight\"}]")

#define UNLIKE(q, n)                                                                           \
	RULES("\"packed\": [{\"module\": \"qk\", \"within\": \"a\", \"parts\": [\"q\", "       \
	      "\"k\"], \"shares\": [1, 1], \"each\": " #n "}], \"fuse\": [{\"into\": \"qk\", " \
	      "\"from\": [\"q\", \"k\"], \"within\": \"a\"}], \"split\": [{\"modules\": "      \
	      "[\"q\"], \"along\": \"" q "\"}, {\"modules\": [\"k\"], \"along\": "             \
	      "\"column\"}]")

static const struct row own[] = {
	{"one rank: every tensor as it is", MINE, "{\"heads\": 2, \"groups\": 1}",
	 "a.q.weight U8 [2,2]\na.k.weight U8 [1,2]\nm.e.0.d.weight U8 [2,4]\n", 0, 0, 0, 0,
	 "a.q.weight U8 [2,2] = a.q.weight@0+4\na.k.weight U8 [1,2] = a.k.weight@0+2\n"
	 "m.e.0.d.weight U8 [2,4] = m.e.0.d.weight@0+8\n",
	 0, NULL},
	{"parts that would be joined, each by its split rule", MINE, NULL,
	 "a.q.weight U8 [4,2]\na.k.weight U8 [2,2]\na.o.weight U8 [2,4]\na.n.weight U8 [3]\n", 2, 1,
	 0, 0,
	 "a.q.weight U8 [2,2] = a.q.weight@4+4\na.k.weight U8 [1,2] = a.k.weight@2+2\n"
	 "a.o.weight U8 [2,2] = a.o.weight@2+4*2/4\na.n.weight U8 [3] = a.n.weight@0+3\n",
	 0, NULL},
	{"what is tied stays left out", MINE, "{\"tie\": true}",
	 "a.n.weight U8 [3]\nhead.weight U8 [3]\n", 2, 1, 0, 0,
	 "a.n.weight U8 [3] = a.n.weight@0+3\n", 0, NULL},
	{"packed: each part is cut, and they are joined again", MINE,
	 "{\"heads\": 2, \"groups\": 1}", "a.qkv.weight U8 [12,2]\na.qkv.bias U8 [12]\n", 2, 1, 0,
	 0,
	 "a.qkv.weight U8 [6,2] = a.qkv.weight@8+8 + a.qkv.weight@20+4\n"
	 "a.qkv.bias U8 [6] = a.qkv.bias@4+4 + a.qkv.bias@10+2\n",
	 0, NULL},
	{"packed in groups: a rank has whole ones, in their order", MINE,
	 "{\"heads\": 2, \"groups\": 4}", "a.qkv.weight U8 [12,2]\n", 2, 1, 0, 0,
	 "a.qkv.weight U8 [6,2] = a.qkv.weight@12+12\n", 0, NULL},
	{"packed: parts that are cut in other ways", UNLIKE("row", 1), NULL,
	 "a.qk.weight U8 [8,4]\n", 2, 1, 0, 0,
	 "tensor 'a.k.weight' has dimension 1 of 4, what is beside it has 2", EINVAL, NULL},
	{"packed in groups: parts of which a rank has other ones", UNLIKE("whole", 4), NULL,
	 "a.qk.weight U8 [8,4]\n", 2, 1, 0, 0,
	 "tensor 'a.qk.weight' has parts between each other, in dimension 0 of 8, that are not "
	 "split "
	 "alike",
	 EOPNOTSUPP, NULL},
	{"experts: cut along what their stack is", MINE, NULL,
	 "m.e.0.d.weight U8 [2,4]\nm.e.0.g.weight U8 [4,2]\nm.e.0.u.weight U8 [4,2]\n", 2, 1, 0, 0,
	 "m.e.0.d.weight U8 [2,2] = m.e.0.d.weight@2+4*2/4\n"
	 "m.e.0.g.weight U8 [2,2] = m.e.0.g.weight@4+4\n"
	 "m.e.0.u.weight U8 [2,2] = m.e.0.u.weight@4+4\n",
	 0, NULL},
	{"experts: those of the rank's share, and what every rank has", MINE, NULL,
	 "m.e.0.g.weight U8 [4,2]\nm.e.0.u.weight U8 [4,2]\nm.e.0.g.input_scale F32 []\n"
	 "m.e.1.g.weight U8 [4,2]\nm.e.1.u.weight U8 [4,2]\n",
	 2, 1, 2, 0,
	 "m.e.0.g.input_scale F32 [] = m.e.0.g.input_scale@0+4\n"
	 "m.e.1.g.weight U8 [4,2] = m.e.1.g.weight@0+8\n"
	 "m.e.1.u.weight U8 [4,2] = m.e.1.u.weight@0+8\n",
	 0, NULL},
	{"experts that can't be shared out", MINE, NULL, "m.e.0.d.weight U8 [2,4]\n", 2, 1, 2, 0,
	 "'m.e.0.d.weight' has dimension 0 of 1: experts, of which ep 2 is no divisor", EINVAL,
	 NULL},
	{"what no rule splits is refused as ever", MINE, NULL, "x.weight U8 [2,4]\n", 2, 1, 0, 0,
	 "no split rule of 'mine' names it", EOPNOTSUPP, NULL},
};

static const struct row none[] = {
	{"names that there are none of", MINE, NULL, "x.weight U8 [2]\n", 0, 0, 0, 0,
	 "names 2 is not below 2", EINVAL, NULL},
};

int main(void)
{
	static const struct rows tables[] = {
		{"own", own, sizeof(own) / sizeof(*own), WLOAD_NAMES_HF},
		{"none", none, sizeof(none) / sizeof(*none), WLOAD_NAMES_COUNT},
	};
	struct tap tap = {0};

	check_rows(&tap, tables, sizeof(tables) / sizeof(*tables));
	return tap_done(&tap);
}
