/* SPDX-License-Identifier: Apache-2.0 */
/* An engine's module-by-module loader inside of a load (struct wload_load_options, module_done),
 * and parameters that are taken from one (wload_load_take). */

#include <errno.h>

#include "checkpoint_of.h"
#include "loader/base/cleanup.h"
#include "loader/pipeline/modules.h"
#include "tap.h"
#include "wloadfs/dlpack.h"
#include "wloadfs/loader.h"

static const struct {
	const char *name;
	size_t want;
} lengths[] = {
	{"", 0},   {"weight", 0}, {".weight", 0}, {"lm_head.weight", 7}, {"a.b.w3_w1_weight", 3},
	{"a.", 1},
};

static void check_lengths(struct tap *tap)
{
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		ok(tap, modules_name_len(lengths[i].name) == lengths[i].want, "module of '%s'",
		   lengths[i].name);
}

/* What an engine saw. */
struct engine {
	const struct llama *llama;
	bool keeps; /* there is memory to look at */
	bool right;
	uint32_t modules, params, attention;
	uint32_t fail_at;		/* the module that it fails with; 0: none */
	struct DLManagedTensor *tensor; /* one that it exports */
};

static int look(void *ctx, struct wload_load *load, const struct wload_module *module,
		struct wload_error *err)
{
	struct engine *e = ctx;
	size_t len = strlen(module->name);

	e->modules++;
	e->params += module->count;
	e->attention += len > 9 && !strcmp(module->name + len - 9, ".qkv_proj");
	for (uint32_t i = 0; i < module->count; i++) {
		const struct wload_loaded *p = wload_load_param(load, module->params[i]);

		e->right = e->right && p && wload_load_find(load, p->name) == p &&
			   !strncmp(p->name, module->name, len) &&
			   !strchr(p->name + len + (len > 0), '.') &&
			   (p->device_ptr != NULL) == e->keeps;
		if (e->right && e->keeps)
			e->right = llama_matches(p->name, p->device_ptr, p->bytes, e->llama->scale);
	}
	if (e->keeps && !e->tensor && module->count)
		(void)wload_load_dlpack(load, module->params[0], true, &e->tensor, NULL);
	if (e->fail_at && e->modules == e->fail_at)
		return wload_fail(err, EPROTO, "the engine does not like '%s'", module->name);
	return 0;
}

static const struct {
	const char *name;
	struct wload_load_options options;
	bool keeps;
} rows[] = {
	{"host", {.device = "host"}, true},
	{"host, 8 readers", {.device = "host", .threads = 8}, true},
	{"host, apart", {.device = "host", .apart = true}, true},
	{"host, verify", {.device = "host", .verify = true}, true},
	{"host, release", {.device = "host", .release = true}, true},
	{"null", {.device = "null"}, false},
};

static void check_calls(struct tap *tap, const struct llama *llama)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct engine engine = {.llama = llama, .keeps = rows[i].keeps, .right = true};
		struct wload_load_options options = rows[i].options;
		struct wload_error err = {0};
		struct wload_load *load = NULL;
		int r;

		options.module_done = look;
		options.module_ctx = &engine;
		r = wload_load(llama->folder, &options, &load, &err);
		ok(tap,
		   r == 0 && engine.right && engine.params == wload_load_count(load) &&
			   engine.attention == LLAMA_LAYERS,
		   "modules: %s: %u with %u parameters %s", rows[i].name, engine.modules,
		   engine.params, err.text);
		ok(tap,
		   load && (wload_load_param(load, 0)->device_ptr != NULL) ==
				   (rows[i].keeps && !options.release),
		   "modules: %s: memory afterwards", rows[i].name);
		if (engine.tensor)
			engine.tensor->deleter(engine.tensor);
		wload_load_unref(load);
	}
}

/* The load fails; a tensor that the engine exported before is its own. */
static void check_refusal(struct tap *tap, const struct llama *llama)
{
	struct engine engine = {.llama = llama, .keeps = true, .right = true, .fail_at = 3};
	struct wload_load_options options = {
		.device = "host", .module_done = look, .module_ctx = &engine};
	struct wload_error err = {0};
	struct wload_load *load = NULL;
	int r = wload_load(llama->folder, &options, &load, &err);
	volatile uint8_t *bytes = engine.tensor ? engine.tensor->dl_tensor.data : NULL;

	ok(tap,
	   r == -EPROTO && !load && engine.modules == 3 &&
		   !strncmp(err.text, "the engine does not like", 24),
	   "modules: what the engine says is the load's: %s", err.text);
	ok(tap, bytes && (bytes[0] = 1, bytes[0]) == 1, "modules: exported memory outlives it");
	if (engine.tensor)
		engine.tensor->deleter(engine.tensor);
}

static int return_unsaid(void *ctx, struct wload_load *load, const struct wload_module *module,
			 struct wload_error *err)
{
	(void)ctx;
	(void)load;
	(void)module;
	(void)err;
	return -ENOSPC;
}

/* An engine that says nothing more than a number. */
static void check_unsaid(struct tap *tap, const struct llama *llama)
{
	struct wload_load_options options = {.device = "host", .module_done = return_unsaid};
	struct wload_error err = {0};
	struct wload_load *load = NULL;
	int r = wload_load(llama->folder, &options, &load, &err);

	ok(tap,
	   r == -ENOSPC && err.code == ENOSPC && !load &&
		   !strncmp(err.text, "module_done of '", 16) &&
		   strstr(err.text, "': No space left on device"),
	   "modules: without words: %d %s", r, err.text);
	wload_load_unref(load);
}

static int return_seven(void *ctx, struct wload_load *load, const struct wload_module *module,
			struct wload_error *err)
{
	(void)load;
	(void)module;
	(void)err;
	return ++*(unsigned int *)ctx == 3 ? 7 : 0;
}

/* No load that ended midway is one that went well. */
static void check_above_0(struct tap *tap, const struct llama *llama, bool release)
{
	unsigned int calls = 0;
	struct wload_load_options options = {.device = "host",
					     .release = release,
					     .module_done = return_seven,
					     .module_ctx = &calls};
	struct wload_load *load = NULL;
	struct wload_error err = {0};
	int r = wload_load(llama->folder, &options, &load, &err);

	ok(tap, r == -EINVAL && !load && strstr(err.text, "returned 7, above 0"),
	   "modules: above 0, release %d: %d %s", release, r, err.text);
	wload_load_unref(load);
}

static void check_take(struct tap *tap, const struct llama *llama, bool apart)
{
	struct wload_load_options options = {.device = "host", .apart = apart};
	struct wload_owned *first = NULL, *second = NULL, *again = NULL;
	const struct wload_loaded *p = NULL;
	struct wload_load *load = NULL;
	struct wload_error err = {0};
	char name[96] = "";

	if (wload_load(llama->folder, &options, &load, &err) == 0) {
		p = wload_load_param(load, 1);
		(void)snprintf(name, sizeof(name), "%s", p->name);
	}
	ok(tap,
	   p && wload_load_take(load, 0, &first, &err) == 0 &&
		   wload_load_take(load, 1, &second, &err) == 0 && !p->device_ptr &&
		   second->bytes == p->bytes,
	   "take, apart %d: two parameters %s", apart, err.text);
	ok(tap,
	   load && wload_load_take(load, 1, &again, &err) == -ENOENT && !again &&
		   wload_load_take(load, wload_load_count(load), &again, &err) == -ENOENT,
	   "take, apart %d: not twice, and nothing past the last: %s", apart, err.text);
	wload_owned_free(first);
	wload_load_unref(load);
	ok(tap, second && llama_matches(name, second->device_ptr, second->bytes, llama->scale),
	   "take, apart %d: it outlives the load", apart);
	wload_owned_free(second);
	wload_owned_free(NULL);
}

static void check_nothing_to_take(struct tap *tap, const struct llama *llama)
{
	struct wload_load_options options = {.device = "host", .release = true};
	struct wload_owned *owned = NULL;
	struct wload_load *load = NULL;

	ok(tap,
	   wload_load(llama->folder, &options, &load, NULL) == 0 &&
		   wload_load_take(load, 0, &owned, NULL) == -ENOENT && !owned,
	   "take: released memory is nobody's");
	wload_load_unref(load);
}

int main(void)
{
	struct tap tap = {0};
	struct llama llama;

	check_lengths(&tap);
	if (llama_make(&llama, 12) < 0) {
		ok(&tap, false, "a checkpoint in /tmp");
		return tap_done(&tap);
	}
	check_calls(&tap, &llama);
	check_refusal(&tap, &llama);
	check_unsaid(&tap, &llama);
	check_above_0(&tap, &llama, false);
	check_above_0(&tap, &llama, true);
	check_take(&tap, &llama, false);
	check_take(&tap, &llama, true);
	check_nothing_to_take(&tap, &llama);
	llama_remove(&llama);
	return tap_done(&tap);
}
