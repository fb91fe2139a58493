/* SPDX-License-Identifier: Apache-2.0 */
/* Rules texts: what is accepted, and what each message says. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "loader/plan/builtin.h"
#include "loader/plan/rules.h"
#include "tap.h"

#define HEAD	  "{\"family\": \"f\", \"model_types\": [\"m\"]"
#define FUSE(x)	  HEAD ", \"fuse\": [" x "]}"
#define SPLIT(x)  HEAD ", \"split\": [" x "]}"
#define TIED(x)	  HEAD ", \"tied\": [" x "]}"
#define QKV	  "{\"into\": \"qkv\", \"from\": [\"q\", \"k\"], \"within\": \"a.b\"}"
#define UP	  "{\"modules\": [\"mlp.up\"], \"along\": \"column\"}"
#define STACK(x)  HEAD ", \"stack\": [" x "]}"
#define PACKED(x) HEAD ", \"packed\": [" x "]}"
#define W2	  "{\"into\": \"w2\", \"from\": [\"d\"], \"within\": \"e\", \"along\": \"row\"}"
#define ALSO(x)	  HEAD ", \"also\": [" x "]}"
#define KT                                                                             \
	"{\"into\": \"kt\", \"from\": \"k\", \"within\": \"a\", \"each\": \"heads\", " \
	"\"transpose\": true, \"layout\": \"trtllm\", \"leaves\": [\"weight\"]}"
#define QKV_PACKED                                                                       \
	"{\"module\": \"m\", \"within\": \"a\", \"parts\": [\"q\", \"k\"], \"shares\": " \
	"[2, \"kv_heads\"], \"each\": \"groups\"}"
#define LONG_16	 "0123456789abcdef"
#define LONG_64	 LONG_16 LONG_16 LONG_16 LONG_16
#define LONG_256 LONG_64 LONG_64 LONG_64 LONG_64

struct row {
	const char *name, *text;
	int want;	  /* what wload_rules_parse() returns */
	const char *says; /* part of the message */
};

static const struct row rows[] = {
	{"the least: a family and its model types", HEAD "}", 0, NULL},
	{"a fuse rule without leaves", FUSE(QKV), 0, NULL},
	{"a tied rule without default and copy_of",
	 TIED("{\"when\": \"tie\", \"skip\": \"lm_head.weight\"}"), 0, NULL},

	{"not JSON", "{", -EBADMSG, "ends at byte 1"},
	{"empty text", "", -EBADMSG, "ends at byte 0"},
	{"not an object", "[]", -EBADMSG, "is not a JSON object"},
	{"text after the object", HEAD "} x", -EBADMSG, "is not JSON"},
	{"single quotes", "{'family': 'f', 'model_types': ['m']}", -EBADMSG, "is not JSON"},
	{"a trailing comma", "{\"family\": \"f\", \"model_types\": [\"m\"],}", -EBADMSG,
	 "is not JSON"},
	{"a comment", "/* x */" HEAD "}", -EBADMSG, "is not JSON"},
	{"bytes that are not UTF-8", "{\"family\": \"\xff\", \"model_types\": [\"m\"]}", -EBADMSG,
	 "is not JSON"},
	{"a member twice", "{\"family\": \"f\", \"family\": \"f\", \"model_types\": [\"m\"]}",
	 -EBADMSG, "twice"},
	{"a member twice, spelled differently",
	 "{\"family\": \"f\", \"f\\u0061mily\": \"g\", \"model_types\": [\"m\"]}", -EBADMSG,
	 "twice"},
	{"colons in strings are no members", "{\"family\": \"a:b\\\":\", \"model_types\": [\":\"]}",
	 0, NULL},
	{"a member's name with a NUL", "{\"family\\u0000x\": \"f\", \"model_types\": [\"m\"]}",
	 -EBADMSG, "a NUL"},
	{"an escaped backslash before u0000",
	 "{\"family\": \"\\\\u0000\", \"model_types\": [\"m\"]}", 0, NULL},
	{"a raw newline in a string", "{\"family\": \"f\n\", \"model_types\": [\"m\"]}", -EBADMSG,
	 "control byte"},
	{"too deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	 -EBADMSG, "nesting too deep"},

	{"an unknown member", HEAD ", \"fused\": []}", -EBADMSG, "'fused' is not a member"},
	{"an unknown member of a rule", FUSE("{\"axis\": 0}"), -EBADMSG,
	 "'fuse[0].axis' is not a member"},
	{"no family", "{\"model_types\": [\"m\"]}", -EBADMSG, "'family' is missing"},
	{"no model types", "{\"family\": \"f\"}", -EBADMSG, "'model_types' is missing"},
	{"a family that is a number", "{\"family\": 1}", -EBADMSG, "'family' is not a string"},
	{"a family that is null", "{\"family\": null}", -EBADMSG, "'family' is not a string"},
	{"an empty family", "{\"family\": \"\"}", -EBADMSG, "'family' is empty"},
	{"the family 'none'", "{\"family\": \"none\", \"model_types\": [\"m\"]}", -EBADMSG,
	 "is 'none'"},
	{"a family that is too long", "{\"family\": \"" LONG_256 "\"}", -E2BIG, "256 bytes"},
	{"no model type", "{\"family\": \"f\", \"model_types\": []}", -EBADMSG, "has 0 elements"},
	{"an empty model type", "{\"family\": \"f\", \"model_types\": [\"\"]}", -EBADMSG,
	 "'model_types' is empty"},
	{"a model type twice", "{\"family\": \"f\", \"model_types\": [\"m\", \"m\"]}", -EBADMSG,
	 "has 'm' twice"},
	{"model types that are a string", "{\"family\": \"f\", \"model_types\": \"m\"}", -EBADMSG,
	 "is not an array"},

	{"fuse that is empty", FUSE(""), -EBADMSG, "'fuse' has 0 elements"},
	{"a fuse rule that is a string", FUSE("\"x\""), -EBADMSG, "'fuse[0]' is not an object"},
	{"a second fuse rule is named by its index", FUSE(QKV ", 1"), -EBADMSG, "'fuse[1]'"},
	{"fuse without from", FUSE("{\"into\": \"x\", \"within\": \"y\"}"), -EBADMSG,
	 "'fuse[0].from' is missing"},
	{"fuse from one", FUSE("{\"into\": \"x\", \"within\": \"y\", \"from\": [\"q\"]}"), -EBADMSG,
	 "has 1 elements, it needs 2"},
	{"fuse from seventeen",
	 FUSE("{\"from\": [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\","
	      "\"m\",\"n\",\"o\",\"p\",\"q\"]}"),
	 -E2BIG, "over our limit of 16"},
	{"fuse from the same twice", FUSE("{\"from\": [\"q\", \"q\"]}"), -EBADMSG, "has 'q' twice"},
	{"fuse from a name with a dot",
	 FUSE("{\"into\": \"x\", \"within\": \"y\", \"from\": [\"q\", \"k.j\"]}"), -EBADMSG,
	 "'k.j', which has a dot"},
	{"fuse into one of its parts",
	 FUSE("{\"into\": \"q\", \"within\": \"y\", \"from\": [\"q\", \"k\"]}"), 0, NULL},
	{"fuse within an empty component",
	 FUSE("{\"into\": \"x\", \"within\": \"a..b\", \"from\": [\"q\", \"k\"]}"), -EBADMSG,
	 "component of which is empty"},
	{"fuse within something that ends in a dot",
	 FUSE("{\"into\": \"x\", \"within\": \"a.\", \"from\": [\"q\", \"k\"]}"), -EBADMSG,
	 "component of which is empty"},
	{"two rules that make the same name", FUSE(QKV ", " QKV), -EBADMSG,
	 "as it is in 'fuse[0]'"},
	{"two rules that could make the same name",
	 FUSE(QKV ", {\"into\": \"qkv\", \"from\": [\"x\", \"y\"], \"within\": \"b\"}"), -EBADMSG,
	 "as it is in 'fuse[0]'"},
	{"two rules that make the same name in different layouts",
	 FUSE("{\"into\": \"x\", \"from\": [\"q\", \"k\"], \"within\": \"a\", \"layout\": "
	      "\"vllm\"},"
	      "{\"into\": \"x\", \"from\": [\"k\", \"q\"], \"within\": \"a\", \"layout\": "
	      "\"trtllm\"}"),
	 0, NULL},
	{"a layout that is none",
	 FUSE("{\"into\": \"x\", \"from\": [\"q\", \"k\"], \"within\": \"a\", \"layout\": "
	      "\"sglang\"}"),
	 -EBADMSG, "'fuse[0].layout' is 'sglang', neither trtllm nor vllm"},
	{"two rules that make the same name by their leaves",
	 FUSE("{\"into\": \"x\", \"from\": [\"q\", \"k\"], \"within\": \"a\", \"leaves\": "
	      "[\"y.z\"]},"
	      "{\"into\": \"y\", \"from\": [\"q\", \"k\"], \"within\": \"a.x\", \"leaves\": "
	      "[\"z\"]}"),
	 -EBADMSG, "two rules make 'a.x.y.z'"},
	{"two rules of one name that never meet",
	 FUSE(QKV ", {\"into\": \"qkv\", \"from\": [\"x\", \"y\"], \"within\": \"bb\"}"), 0, NULL},

	{"a split rule without leaves", SPLIT(UP), 0, NULL},
	{"split that is empty", SPLIT(""), -EBADMSG, "'split' has 0 elements"},
	{"split without along", SPLIT("{\"modules\": [\"a\"]}"), -EBADMSG,
	 "'split[0].along' is missing"},
	{"split without modules", SPLIT("{\"along\": \"row\"}"), -EBADMSG,
	 "'split[0].modules' is missing"},
	{"split along something unknown", SPLIT("{\"along\": \"rows\"}"), -EBADMSG,
	 "'split[0].along' is 'rows', none of column, row, vocab, heads, kv_heads, whole"},
	{"split along a number", SPLIT("{\"along\": 0}"), -EBADMSG, "is not a string"},
	{"an unknown member of a split rule", SPLIT("{\"dim\": 0}"), -EBADMSG,
	 "'split[0].dim' is not a member"},
	{"split of no module", SPLIT("{\"modules\": []}"), -EBADMSG, "has 0 elements"},
	{"split of a module that is no string", SPLIT("{\"modules\": [7]}"), -EBADMSG,
	 "'split[0].modules' is not a string"},
	{"split of a module that ends in a dot",
	 SPLIT("{\"modules\": [\"a.\"], \"along\": \"row\"}"), -EBADMSG,
	 "component of which is empty"},
	{"split of a leaf that is empty",
	 SPLIT("{\"modules\": [\"a\"], \"along\": \"row\", \"leaves\": [\"\"]}"), -EBADMSG,
	 "'split[0].leaves' is empty"},
	{"a module split twice in one rule",
	 SPLIT("{\"modules\": [\"a\", \"a\"], \"along\": \"row\"}"), -EBADMSG, "has 'a' twice"},
	{"a module split by two rules",
	 SPLIT(UP ", {\"modules\": [\"a\", \"mlp.up\"], \"along\": \"row\"}"), -EBADMSG,
	 "'split[1].modules' has 'mlp.up', as 'split[0]' has"},

	{"a head of two numbers",
	 SPLIT("{\"modules\": [\"q\"], \"along\": \"heads\", \"head\": [\"nope\", \"rope\"]}"), 0,
	 NULL},
	{"a head where nothing has heads",
	 SPLIT("{\"modules\": [\"q\"], \"along\": \"row\", \"head\": [\"nope\"]}"), -EBADMSG,
	 "'split[0].head' is there, and 'along' is 'row'"},
	{"a module split by two rules in different layouts",
	 SPLIT("{\"modules\": [\"q\"], \"along\": \"row\", \"layout\": \"vllm\"},"
	       "{\"modules\": [\"q\"], \"along\": \"whole\", \"layout\": \"trtllm\"}"),
	 0, NULL},

	{"a divisor of heads",
	 SPLIT("{\"modules\": [\"q\"], \"along\": \"heads\", \"divisor\": true}"), -EBADMSG,
	 "'split[0].divisor' is true, and 'along' is 'heads'"},
	{"a divisor of what is whole",
	 SPLIT("{\"modules\": [\"q\"], \"along\": \"whole\", \"divisor\": true}"), -EBADMSG,
	 "'split[0].divisor' is true, and 'along' is 'whole'"},

	{"a stack of one part", STACK(W2), 0, NULL},
	{"a stack without along", STACK("{\"into\": \"w2\", \"from\": [\"d\"], \"within\": \"e\"}"),
	 -EBADMSG, "'stack[0].along' is missing"},
	{"a stack along heads",
	 STACK("{\"into\": \"w2\", \"from\": [\"d\"], \"within\": \"e\", \"along\": \"heads\"}"),
	 -EBADMSG, "'stack[0].along' is 'heads', and experts have no heads"},
	{"a stack of the same name twice", STACK(W2 ", " W2), -EBADMSG, "as it is in 'stack[0]'"},
	{"a stack that makes what a fuse rule makes",
	 HEAD
	 ", \"stack\": [{\"into\": \"x\", \"from\": [\"d\"], \"within\": \"e\", \"along\": \"row\","
	 "\"leaves\": [\"y.weight\"]}], \"fuse\": [{\"into\": \"x_y\", \"from\": [\"a\", \"b\"],"
	 "\"within\": \"e\"}]}",
	 -EBADMSG, "two rules make 'e.x_y.weight'"},

	{"packed by numbers and by names", PACKED(QKV_PACKED), 0, NULL},
	{"packed without shares",
	 PACKED("{\"module\": \"m\", \"within\": \"a\", \"parts\": [\"q\", \"k\"]}"), -EBADMSG,
	 "'packed[0].shares' is missing"},
	{"packed with a share too few",
	 PACKED("{\"module\": \"m\", \"within\": \"a\", \"parts\": [\"q\", \"k\", \"v\"], "
		"\"shares\": [1, 2]}"),
	 -EBADMSG, "'packed[0].shares' has 2 elements, 'parts' 3"},
	{"packed with a share of nothing",
	 PACKED("{\"module\": \"m\", \"within\": \"a\", \"parts\": [\"q\", \"k\"], \"shares\": [0, "
		"2]}"),
	 -EBADMSG, "no whole number from 1 to 2^32 - 1"},
	{"packed in a module with a dot",
	 PACKED("{\"module\": \"m.n\", \"within\": \"a\", \"parts\": [\"q\", \"k\"], \"shares\": "
		"[1, 2]}"),
	 -EBADMSG, "has a dot"},
	{"packed in the same module twice", PACKED(QKV_PACKED ", " QKV_PACKED), -EBADMSG,
	 "as it is in 'packed[0]'"},

	{"also, with all that it can have", ALSO(KT), 0, NULL},
	{"also without each", ALSO("{\"into\": \"x\", \"from\": \"k\", \"within\": \"a\"}"),
	 -EBADMSG, "'also[0].each' is missing"},
	{"also from several",
	 ALSO("{\"into\": \"x\", \"from\": [\"k\"], \"within\": \"a\", \"each\": 1}"), -EBADMSG,
	 "'also[0].from' is not a string"},
	{"also into the same name twice", ALSO(KT ", " KT), -EBADMSG, "as it is in 'also[0]'"},
	{"also what a stack makes",
	 HEAD ", \"stack\": [" W2 "], \"also\": [{\"into\": \"w2_weight\", \"from\": \"k\", "
	      "\"within\": \"e\", \"each\": 2}]}",
	 -EBADMSG, "two rules make 'e.w2_weight'"},

	{"tied without skip", TIED("{\"when\": \"t\"}"), -EBADMSG, "'tied[0].skip' is missing"},
	{"a default that is a string", TIED("{\"default\": \"true\"}"), -EBADMSG,
	 "is neither true nor false"},
	{"tied to itself", TIED("{\"when\": \"t\", \"skip\": \"x\", \"copy_of\": \"x\"}"), -EBADMSG,
	 "is 'x', which is 'skip'"},
	{"skipped twice",
	 TIED("{\"when\": \"t\", \"skip\": \"x\"}, {\"when\": \"u\", \"skip\": \"x\"}"), -EBADMSG,
	 "as it is in 'tied[0]'"},
};

/* Parses a copy that ends where the text does, so that a sanitizer sees each byte read too far. */
static void check_row(struct tap *tap, const struct row *row)
{
	size_t len = strlen(row->text);
	char *text CLEANUP_FREE = malloc(len ? len : 1);
	struct wload_rules *rules = NULL;
	struct wload_error err = {0};
	bool pass;
	int r;

	memcpy(text, row->text, len);
	r = wload_rules_parse(text, len, "x.json", &rules, &err);
	pass = r == row->want;
	if (row->want == 0)
		pass = pass && rules && err.code == 0;
	else
		pass = pass && !rules && err.code == -row->want && strstr(err.text, row->says) &&
		       strstr(err.text, "'x.json'");
	if (!ok(tap, pass, "parse: %s", row->name))
		printf("# returned %d, wanted %d: %s\n", r, row->want, err.text);
	wload_rules_free(rules);
}

static void check_values(struct tap *tap)
{
	static const char text[] = TIED("{\"when\": \"t\", \"skip\": \"s\", \"default\": true}");
	struct wload_rules *rules = NULL;

	ok(tap,
	   wload_rules_parse(FUSE(QKV), strlen(FUSE(QKV)), "x", &rules, NULL) == 0 &&
		   rules->fuse_count == 1 && rules->fuse[0].from.count == 2 &&
		   !strcmp(rules->fuse[0].from.items[1], "k") &&
		   !strcmp(rules->fuse[0].within, "a.b") && rules->fuse[0].leaves.count == 6 &&
		   rules_names_contain(&rules->fuse[0].leaves, "weight") &&
		   rules_names_contain(&rules->fuse[0].leaves, "weight_scale_inv"),
	   "values: a fuse rule, with the default leaves");
	wload_rules_free(rules);
	rules = NULL;
	ok(tap,
	   wload_rules_parse(SPLIT(UP), strlen(SPLIT(UP)), "x", &rules, NULL) == 0 &&
		   rules->split_count == 1 && rules->split[0].along == along_find("column") &&
		   rules->split[0].modules.count == 1 && rules->split[0].leaves.count == 6 &&
		   rules_names_contain(&rules->split[0].leaves, "bias"),
	   "values: a split rule, with the default leaves");
	wload_rules_free(rules);
	rules = NULL;
	ok(tap,
	   wload_rules_parse(text, strlen(text), "x", &rules, NULL) == 0 &&
		   rules->tied_count == 1 && rules->tied[0].fallback && !rules->tied[0].copy_of &&
		   !strcmp(rules->tied[0].skip, "s"),
	   "values: a tied rule");
	wload_rules_free(rules);
}

/* Every family that is compiled in parses, and no model type is claimed by two. */
static void check_builtin(struct tap *tap)
{
	struct wload_rules *rules, *found;
	struct wload_error err = {0};
	size_t i, j;

	ok(tap, rules_text_count >= 2, "builtin: %zu families", rules_text_count);
	for (i = 0; i < rules_text_count; i++) {
		rules = NULL;
		if (!ok(tap,
			wload_rules_parse(rules_texts[i].text, strlen(rules_texts[i].text),
					  rules_texts[i].name, &rules, &err) == 0,
			"builtin: %s parses", rules_texts[i].name)) {
			printf("# %s\n", err.text);
			continue;
		}
		for (j = 0; j < rules->model_types.count; j++) {
			found = NULL;
			builtin_rules_for(rules->model_types.items[j], &found, NULL);
			ok(tap, found && !strcmp(found->family, rules->family),
			   "builtin: %s is of %s alone", rules->model_types.items[j],
			   rules->family);
			wload_rules_free(found);
		}
		wload_rules_free(rules);
	}
	found = (struct wload_rules *)wload_rules_builtin();
	ok(tap, builtin_rules_for("no such model", &rules, NULL) == 0 && !rules,
	   "builtin: an unknown model type has no rules");
	wload_rules_free(found);
	wload_rules_free(NULL);
	ok(tap, wload_rules_builtin()->builtin, "builtin: freeing them does nothing");
}

static void check_load(struct tap *tap)
{
	char path[] = "/tmp/test_rules.XXXXXX";
	int fd = mkstemp(path);
	FILE *file CLEANUP_FCLOSE = fdopen(fd, "w");
	struct wload_rules *rules = NULL;
	struct wload_error err = {0};
	size_t i;

	fputs(FUSE(QKV), file);
	fflush(file);
	ok(tap, wload_rules_load(path, &rules, &err) == 0 && rules->fuse_count == 1,
	   "load: a file");
	wload_rules_free(rules);
	rules = NULL;
	for (i = 0; i <= RULES_TEXT_MAX; i++)
		putc(' ', file);
	fflush(file);
	ok(tap, wload_rules_load(path, &rules, &err) == -E2BIG && strstr(err.text, path),
	   "load: a file over the limit");
	unlink(path);
	ok(tap, wload_rules_load(path, &rules, &err) == -ENOENT && strstr(err.text, path),
	   "load: no such file");
	ok(tap, wload_rules_load("/", &rules, &err) == -EISDIR, "load: a folder");
}

int main(void)
{
	struct tap tap = {0};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		check_row(&tap, &rows[i]);
	check_values(&tap);
	check_builtin(&tap);
	check_load(&tap);
	return tap_done(&tap);
}
