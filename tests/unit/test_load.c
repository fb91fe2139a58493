/* SPDX-License-Identifier: Apache-2.0 */
/* wload_load() on a plain checkpoint: every option on the devices that any machine has, what --out
 * writes read back as a checkpoint, and loads that fail. */

#include <dirent.h>
#include <errno.h>

#include "checkpoint_of.h"
#include "loader/base/cleanup.h"
#include "tap.h"
#include "wloadfs/checkpoint.h"
#include "wloadfs/dlpack.h"
#include "wloadfs/loader.h"

static const struct row {
	const char *name;
	struct wload_load_options options;
	bool out;
	int want;
} rows[] = {
	{"null", {.device = "null"}, false, 0},
	{"null, one reader", {.device = "null", .threads = 1}, false, 0},
	{"null and release", {.device = "null", .release = true}, false, 0},
	{"null and verify", {.device = "null", .verify = true}, false, -EINVAL},
	{"null and out", {.device = "null"}, true, -EINVAL},
	{"host", {.device = "host"}, false, 0},
	{"host, the least staging", {.device = "host", .staging_bytes = 131072}, false, 0},
	{"host, too little staging", {.device = "host", .staging_bytes = 131071}, false, -EINVAL},
	{"host, 16 readers", {.device = "host", .threads = 16}, false, 0},
	{"host and verify", {.device = "host", .verify = true}, false, 0},
	{"host and release", {.device = "host", .release = true}, false, 0},
	{"host, release, verify", {.device = "host", .release = true, .verify = true}, false, 0},
	{"host and out", {.device = "host"}, true, 0},
	{"host, out, release, verify",
	 {.device = "host", .release = true, .verify = true},
	 true,
	 0},
	{"host, verify every 2nd", {.device = "host", .verify_every = 2}, false, 0},
	{"host, verify every 5th, release",
	 {.device = "host", .verify_every = 5, .release = true},
	 false,
	 0},
	{"host, verify the first alone", {.device = "host", .verify_every = 1000000}, false, 0},
	{"host, verify every wins over all of them",
	 {.device = "host", .verify = true, .verify_every = 3},
	 false,
	 0},
	{"null and verify every", {.device = "null", .verify_every = 2}, false, -EINVAL},
	{"keep on no mount", {.device = "host", .keep = true}, false, 0},
	{"no such device", {.device = "tpu"}, false, -EINVAL},
};

static bool all_match(const struct wload_load *load, const struct llama *llama)
{
	for (uint32_t i = 0; i < wload_load_count(load); i++) {
		const struct wload_loaded *p = wload_load_param(load, i);

		if (!p->device_ptr || (uintptr_t)p->device_ptr % 256 ||
		    wload_load_find(load, p->name) != p ||
		    !llama_matches(p->name, p->device_ptr, p->bytes, llama->scale))
			return false;
	}
	return true;
}

/* Reads what --out wrote. */
static bool out_matches(const char *dir, const struct llama *llama, uint32_t params)
{
	struct wload_checkpoint *ckpt;
	struct wload_error err = {0};
	bool pass;

	if (wload_checkpoint_open(dir, NULL, NULL, &ckpt, &err) < 0) {
		printf("# %s\n", err.text);
		return false;
	}
	pass = wload_inventory_count(wload_checkpoint_inventory(ckpt)) == params &&
	       wload_checkpoint_config(ckpt);
	for (uint32_t i = 0; pass && i < params; i++) {
		struct wload_tensor t = wload_inventory_tensor(wload_checkpoint_inventory(ckpt), i);
		CLEANUP_FREE uint8_t *bytes = malloc(t.bytes + 1);

		pass = bytes &&
		       pread(wload_checkpoint_shard(ckpt, t.shard)->fd, bytes, t.bytes,
			     (off_t)t.offset) == (ssize_t)t.bytes &&
		       llama_matches(t.name, bytes, t.bytes, llama->scale);
	}
	wload_checkpoint_close(ckpt);
	return pass;
}

/* What should be compared: counted here in another way than the finisher goes by. */
static uint64_t bytes_of_every(const struct wload_load *load, uint32_t every)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; every && i < wload_load_count(load); i += every)
		bytes += wload_load_param(load, i)->bytes;
	return bytes;
}

/* The samples end where the load did, and the most of them is the report's. */
static bool samples_add_up(const struct wload_load *load)
{
	const struct wload_report *r = wload_load_report(load);
	uint64_t highest = 0;
	uint32_t count;
	const struct wload_sample *s = wload_load_samples(load, &count);

	for (uint32_t i = 0; i < count; i++)
		if (s[i].host_bytes > highest)
			highest = s[i].host_bytes;
	return count >= 1 && highest == r->peak_host_bytes &&
	       s[count - 1].device_bytes == r->bytes_uploaded;
}

static bool report_adds_up(const struct wload_load *load, const struct wload_load_options *options)
{
	const struct wload_report *r = wload_load_report(load);
	uint32_t every = options->verify_every ? options->verify_every : options->verify;

	return r->tensors == LLAMA_TENSORS && r->parameters == LLAMA_TENSORS - 3 * LLAMA_LAYERS &&
	       wload_load_count(load) == r->parameters && r->bytes_read == r->bytes_uploaded &&
	       r->bytes_verified == bytes_of_every(load, every) && r->verify_every == every &&
	       (every != 1 || r->bytes_verified == r->bytes_read) && !r->mount &&
	       r->consumed_tensors == 0 && r->unused_tensors == 0 && !wload_load_unused(load, 0) &&
	       strcmp(r->device, options->device) == 0 && strcmp(r->family, "llama") == 0;
}

static void check_row(struct tap *tap, const struct llama *llama, const struct row *row)
{
	struct wload_load_options options = row->options;
	struct wload_load *load = NULL;
	struct wload_error err = {0};
	char out[160];
	bool pass;

	(void)snprintf(out, sizeof(out), "%s/out", llama->folder);
	options.out_dir = row->out ? out : NULL;
	pass = wload_load(llama->folder, &options, &load, &err) == row->want;
	if (pass && row->want == 0)
		pass = report_adds_up(load, &options) && samples_add_up(load);
	if (pass && row->want == 0 && strcmp(options.device, "host") == 0 && !options.release)
		pass = all_match(load, llama);
	if (pass && row->want == 0 && row->out) {
		pass = out_matches(out, llama, wload_load_count(load));
		wload_load_unref(load);
		load = NULL;
		pass = pass && wload_load(llama->folder, &options, &load, &err) == -EEXIST;
		(void)nftw(out, llama_remove_one, 8, FTW_DEPTH | FTW_PHYS);
	} else if (pass && row->want < 0) {
		pass = err.text[0] && access(out, F_OK) < 0;
	}
	ok(tap, pass, "%s %s", row->name, err.text);
	wload_load_unref(load);
}

static void check_dlpack(struct tap *tap, const struct llama *llama)
{
	struct wload_load_options options = {.device = "host"};
	struct DLManagedTensor *bits = NULL, *real = NULL, *empty = NULL;
	struct wload_load *load = NULL;
	const struct wload_loaded *p = NULL;
	uint32_t index = 0, none = 0;

	if (wload_load(llama->folder, &options, &load, NULL) == 0) {
		p = wload_load_find(load, "model.layers.0.self_attn.qkv_proj.weight");
		while (wload_load_param(load, index) != p)
			index++;
		while (strcmp(wload_load_param(load, none)->name, "empty") != 0)
			none++;
	}
	if (!ok(tap,
		p && wload_load_dlpack(load, index, true, &bits, NULL) == 0 &&
			wload_load_dlpack(load, index, false, &real, NULL) == 0 &&
			wload_load_dlpack(load, none, false, &empty, NULL) == 0,
		"dlpack: exports"))
		return;
	ok(tap,
	   bits->dl_tensor.dtype.code == kDLUInt && bits->dl_tensor.dtype.bits == 16 &&
		   real->dl_tensor.dtype.code == kDLBfloat &&
		   real->dl_tensor.data == p->device_ptr &&
		   real->dl_tensor.device.device_type == kDLCPU,
	   "dlpack: BF16 as itself and as its bits");
	ok(tap,
	   real->dl_tensor.ndim == 2 && real->dl_tensor.shape[0] == (int64_t)(96 * llama->scale) &&
		   real->dl_tensor.shape[1] == LLAMA_WIDTH &&
		   real->dl_tensor.strides[0] == LLAMA_WIDTH && real->dl_tensor.strides[1] == 1 &&
		   empty->dl_tensor.ndim == 1 && empty->dl_tensor.shape[0] == 0,
	   "dlpack: shapes and strides");
	wload_load_unref(load);
	bits->deleter(bits);
	empty->deleter(empty);
	ok(tap,
	   llama_matches("model.layers.0.self_attn.qkv_proj.weight", real->dl_tensor.data,
			 96ull * llama->scale * LLAMA_WIDTH * 2, llama->scale),
	   "dlpack: outlives the load");
	real->deleter(real);
}

/* Cuts a shard the first time that it is asked for progress: the load has just begun. */
static bool cut_shard(void *ctx, const struct wload_progress *now)
{
	const struct llama *llama = ctx;
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/b.safetensors", llama->folder);
	if (now->bytes_read < now->bytes_total)
		(void)!truncate(path, 4096);
	return true;
}

static void check_cut(struct tap *tap, const char *name, struct wload_load_options options,
		      bool out)
{
	struct llama llama;
	struct wload_load *load = NULL;
	struct wload_error err = {0};
	char dir[160];
	int r = -1;

	if (llama_make(&llama, 300) == 0) {
		(void)snprintf(dir, sizeof(dir), "%s/out", llama.folder);
		options.progress = cut_shard;
		options.progress_ctx = &llama;
		options.out_dir = out ? dir : NULL;
		r = wload_load(llama.folder, &options, &load, &err);
	}
	ok(tap, r == -ESTALE && access(dir, F_OK) < 0, "a shard shrinks: %s (%s)", name, err.text);
	wload_load_unref(load);
	llama_remove(&llama);
}

static void check_failures(struct tap *tap, const struct llama *llama)
{
	struct wload_load_options options = {.device = "host"};
	struct wload_error err = {0};
	struct wload_load *load = NULL;
	char path[160];

	ok(tap, wload_load("/nowhere/at/all", &options, &load, &err) == -ENOENT, "no such path: %s",
	   err.text);
	(void)snprintf(path, sizeof(path), "%s/no/parent", llama->folder);
	options.out_dir = path;
	ok(tap, wload_load(llama->folder, &options, &load, &err) == -ENOENT, "out: %s", err.text);
	(void)snprintf(path, sizeof(path), "%s", llama->folder);
	ok(tap, wload_load(llama->folder, &options, &load, &err) == -EEXIST, "out: %s", err.text);
	ok(tap, wload_load(llama->folder, NULL, &load, NULL) == 0 || load == NULL,
	   "no options and no error struct");
	wload_load_unref(load);
	wload_load_unref(NULL);
}

int main(void)
{
	struct tap tap = {0};
	struct llama llama;

	if (llama_make(&llama, 12) < 0) {
		ok(&tap, false, "a checkpoint in /tmp");
		return tap_done(&tap);
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&tap, &llama, &rows[i]);
	check_dlpack(&tap, &llama);
	check_failures(&tap, &llama);
	llama_remove(&llama);
	check_cut(&tap, "host", (struct wload_load_options){.device = "host", .threads = 1}, false);
	check_cut(&tap, "out and verify",
		  (struct wload_load_options){.device = "host", .verify = true, .release = true},
		  true);
	check_cut(&tap, "null", (struct wload_load_options){.device = "null", .threads = 1}, false);
	return tap_done(&tap);
}
