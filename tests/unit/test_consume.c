/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/consume.c: a source is told once, after the last parameter that needs it, and not
 * one by one. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/pipeline/consume.h"
#include "plan_of.h"
#include "tap.h"

struct told {
	size_t calls, names, largest, unread;
	int fail, fail_check;
	const char *others; /* somebody else consumed it */
};

static int check(void *ctx, uint32_t shard, struct wload_error *err)
{
	const struct told *told = ctx;

	return told->fail_check ? wload_fail(err, told->fail_check, "shard %u", shard) : 0;
}

static int tell(void *ctx, const char *const *names, size_t name_count, bool read,
		bool *ret_changed, struct wload_error *err)
{
	struct told *told = ctx;

	if (told->fail)
		return wload_fail(err, told->fail, "told to fail at '%s'", names[0]);
	told->calls++;
	told->names += name_count;
	told->unread += read ? 0 : name_count;
	if (name_count > told->largest)
		told->largest = name_count;
	for (size_t i = 0; i < name_count; i++)
		ret_changed[i] = !told->others || strcmp(names[i], told->others) != 0;
	return 0;
}

static bool finish(struct consume *consume, uint32_t count, uint64_t now_ns)
{
	struct wload_error err = {0};

	for (uint32_t p = 0; p < count; p++)
		if (consume_param(consume, p, now_ns, &err) < 0)
			return false;
	return true;
}

static void check_many(struct tap *tap)
{
	enum { COUNT = 1200 };
	static struct plan_of_tensor tensors[COUNT];
	static char names[COUNT][24];
	struct wload_error err = {0};
	struct told told = {0};
	struct consume consume;
	struct plan_of made;
	bool pass;

	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "t%05d", i);
		tensors[i] = (struct plan_of_tensor){names[i], WLOAD_DTYPE_U8, 4};
	}
	pass = plan_of(tensors, COUNT, &made, &err) == 0 &&
	       consume_open(&consume, made.inv, made.plan, tell, &told, &err) == 0;
	ok(tap,
	   pass && finish(&consume, COUNT, 5) && told.calls == 2 && told.largest == CONSUME_NAMES,
	   "many small ones are told in batches");
	ok(tap, consume_deadline_ns(&consume) == 5 + CONSUME_WAIT_NS, "the rest has a deadline");
	ok(tap,
	   consume_unused(&consume, 6, &err) == 0 && told.names == COUNT &&
		   consume_deadline_ns(&consume) == 0,
	   "the end tells the rest");
	consume_close(&consume);
	plan_of_free(&made);
}

static void check_rules(struct tap *tap)
{
	static const struct plan_of_tensor tensors[] = {{"big", WLOAD_DTYPE_U8, 64 << 20},
							{"a", WLOAD_DTYPE_U8, 4},
							{"b", WLOAD_DTYPE_U8, 4}};
	_Atomic uint64_t bytes = 0;
	struct wload_error err = {0};
	struct told told = {0};
	struct consume consume;
	struct plan_of made;

	if (!ok(tap,
		plan_of(tensors, 3, &made, &err) == 0 &&
			consume_open(&consume, made.inv, made.plan, tell, &told, &err) == 0,
		"opens"))
		return;
	consume.consumed_bytes = &bytes;
	consume.left[1]++; /* as if another parameter needed it too */
	ok(tap, finish(&consume, 1, 5) && told.names == 1 && bytes == 64 << 20,
	   "a large one is told at once");
	ok(tap, consume_param(&consume, 1, 6, &err) == 0 && !consume.due, "still needed: not due");
	ok(tap, consume_param(&consume, 1, 7, &err) == 0 && consume.due == 1,
	   "needed no more: due");
	ok(tap, consume_param(&consume, 2, 7 + CONSUME_WAIT_NS, &err) == 0 && told.names == 3,
	   "what waited long enough is told with the next");
	consume.left[0] = 1;
	told.fail = EIO;
	ok(tap, consume_param(&consume, 0, 8, &err) == -EIO, "the mount's refusal is passed on");
	consume_close(&consume);
	plan_of_free(&made);
}

static void check_counts(struct tap *tap)
{
	static const struct plan_of_tensor tensors[] = {
		{"a", WLOAD_DTYPE_U8, 1}, {"b", WLOAD_DTYPE_U8, 20}, {"c", WLOAD_DTYPE_U8, 300}};
	_Atomic uint64_t bytes = 0, count = 0;
	struct told told = {.others = "b"};
	struct wload_error err = {0};
	struct consume consume;
	struct plan_of made;

	if (!ok(tap,
		plan_of(tensors, 3, &made, &err) == 0 &&
			consume_open(&consume, made.inv, made.plan, tell, &told, &err) == 0,
		"opens"))
		return;
	consume.consumed_bytes = &bytes;
	consume.consumed_tensors = &count;
	consume.check = check;
	consume.check_ctx = &told;
	told.fail_check = ESTALE;
	ok(tap,
	   finish(&consume, 3, 5) && consume_flush(&consume, &err) == -ESTALE && told.calls == 0,
	   "nothing is told of a shard that changed");
	told.fail_check = 0;
	ok(tap, consume_flush(&consume, &err) == 0 && told.names == 3 && count == 2 && bytes == 301,
	   "what somebody else consumed is not counted, nor are its bytes");
	consume_close(&consume);
	plan_of_free(&made);
}

/* One that no parameter needs was not read, and is told apart from those that were. */
static void check_unused(struct tap *tap)
{
	static const char config[] = "{\"model_type\": \"llama\", \"tie_word_embeddings\": true}";
	static const struct plan_of_tensor tensors[] = {
		{"lm_head.weight", WLOAD_DTYPE_U8, 2},
		{"model.embed_tokens.weight", WLOAD_DTYPE_U8, 2},
		{"model.norm.weight", WLOAD_DTYPE_U8, 2}};
	struct wload_error err = {0};
	struct told told = {0};
	struct consume consume;
	struct plan_of made;

	if (!ok(tap,
		plan_of(tensors, 3, &made, &err) == 0 &&
			(wload_plan_free(made.plan), made.plan = NULL,
			 wload_plan_build(made.inv, config, NULL, &made.plan, &err)) == 0 &&
			wload_plan_count(made.plan) == 2 &&
			consume_open(&consume, made.inv, made.plan, tell, &told, &err) == 0,
		"opens: %s", err.text))
		return;
	ok(tap,
	   finish(&consume, 2, 5) && consume_unused(&consume, 6, &err) == 0 && told.names == 3 &&
		   told.unread == 1 && told.calls == 2,
	   "one that nobody needs is told as unread, apart from those that were read");
	consume_close(&consume);
	plan_of_free(&made);
}

int main(void)
{
	struct tap tap = {0};

	check_many(&tap);
	check_rules(&tap);
	check_counts(&tap);
	check_unused(&tap);
	return tap_done(&tap);
}
