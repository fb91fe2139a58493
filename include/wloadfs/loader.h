/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_LOADER_H
#define WLOADFS_LOADER_H

/* The load: a checkpoint's parameters into device memory, consuming their sources as they arrive.
 *
 *   struct wload_load_options opt = WLOAD_LOAD_OPTIONS_DEFAULT;
 *   struct wload_load *load;
 *   if (wload_load("/mnt/weights", &opt, &load, &err) < 0) …
 *   const struct wload_loaded *p = wload_load_find(load,
 * "model.layers.0.self_attn.qkv_proj.weight"); … p->device_ptr … ; wload_load_unref(load);
 */

#include "wloadfs/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wload_device_kind { WLOAD_DEVICE_NULL, WLOAD_DEVICE_HOST, WLOAD_DEVICE_CUDA };

/* How shards are read. Whatever is chosen, it is chosen again for every range, by what is true of
 * it at that moment. */
enum wload_io {
	WLOAD_IO_AUTO,	   /* cached bytes from the page cache, others from the disk past it */
	WLOAD_IO_BUFFERED, /* all through the page cache, which keeps them */
	WLOAD_IO_DIRECT,   /* all from the disk (O_DIRECT); refused where there is none */
};

/* How far a load is; given to the progress callback about ten times a second, and at the end. */
struct wload_progress {
	uint64_t bytes_total; /* to read */
	uint64_t bytes_read;
	uint64_t host_bytes; /* host memory now, as peak_host_bytes is defined */
	uint64_t consumed_bytes;
	double seconds; /* since the load began */
};

struct wload_load;

/* A module that is complete: the parameters whose names are its name, a dot, and something without
 * dots (of "lm_head.weight" it is "lm_head", of a name without dots ""). */
struct wload_module {
	const char *name;
	const uint32_t *params; /* indexes for wload_load_param(), in the load's order */
	uint32_t count;
};

struct wload_load_options {
	const char *device;    /* "auto", "cuda", "cuda:N", "host", "null"; NULL: "auto" */
	bool keep;	       /* consume nothing (--no-consume) */
	bool release;	       /* free each parameter once it is complete (to measure, to stream) */
	bool verify;	       /* compare with the source, re-read, before consuming it */
	uint32_t verify_every; /* compare every nth parameter only, in the plan's order, the first
				* included; 0: all with verify, else none */
	const char *out_dir; /* write what was loaded there as a safetensors checkpoint; or NULL */
	const struct wload_rules *rules; /* NULL: the built-in ones */
	uint64_t staging_bytes;		 /* all staging buffers together; 0: the default */
	unsigned int threads;		 /* readers; 0: chosen by the machine */
	enum wload_io io;

	/* Load what one of tp tensor-parallel ranks has, the first of which is 0 (plan.h). tp 0 or
	 * 1: everything. With more a mount's root is not consumed from: the other ranks, wherever
	 * they are loaded, need the same tensors still. Consume them when all ranks are loaded.
	 *
	 * Where PATH is ranks/R of a mount, rank R's claims are what is consumed, with tp too: the
	 * other ranks' claims keep their tensors. tp is then as many as the mount has ranks, and
	 * rank is R; on a mount with tp=N, tp 0 is N, with the ep, the layout and the rules that
	 * the mount was given (tp 1: everything all the same). */
	uint32_t tp;
	uint32_t rank;		  /* or WLOAD_RANK_OF_PATH */
	uint32_t ep;		  /* experts are shared out among so many ranks; 0: not */
	enum wload_layout layout; /* whose names and orders; 0: TensorRT-LLM's */
	enum wload_names names;	  /* what rules make, or the checkpoint's own tensors (plan.h) */
	bool dequantise, swizzle; /* as struct wload_plan_options has them */
	enum wload_dtype dtype;	  /* the same */

	/* Each parameter in memory of its own, so that one that is taken (wload_load_take()) can be
	 * freed by itself; else they share few large pieces. */
	bool apart;

	/* Called when all parameters of a module are there, compared and written out; may be NULL.
	 * One module at a time, in the order in which they become complete, from a thread of the
	 * load's own: others go on reading meanwhile. Here an engine's loader that goes module by
	 * module does its part. The module's sources are consumed, and with release its memory is
	 * freed, when it has returned; with keep nothing is consumed, and it may call
	 * wload_mark_consumed() itself.
	 *
	 * load    to look parameters up in, and to export them; not to be waited for. What keeps a
	 *         reference to it has the memory even where the load fails later
	 * module  borrowed during the call
	 *
	 * Returns 0 to go on; -errno fails the load, with the words in err if there are any; what
	 * is above 0 with -EINVAL. */
	int (*module_done)(void *ctx, struct wload_load *load, const struct wload_module *module,
			   struct wload_error *err);
	void *module_ctx;

	/* Called from the thread that called wload_load(); may be NULL. Returns true to go on;
	 * false stops the load, which then fails with -ECANCELED. */
	bool (*progress)(void *ctx, const struct wload_progress *now);
	void *progress_ctx;
};

/* The rank whose folder PATH is; 0 where it is none. */
#define WLOAD_RANK_OF_PATH UINT32_MAX

#define WLOAD_LOAD_OPTIONS_DEFAULT \
	{                          \
		0                  \
	}

/* What a load did. peak_host_bytes: the most, at any sample, of the sum of the loader's resident
 * growth beyond a bare device context, the page cache that the load added to the shards, and the
 * daemon's resident memory. */
struct wload_report {
	const char *device; /* "cuda:0 (NVIDIA H100 …)", "host", "null" */
	const char *family; /* rules that were used, "none" */
	const char *note;   /* the plan's, and that a rank consumed nothing; or NULL */
	bool mount;	    /* a mount was loaded (else nothing was consumed) */
	bool claims;	  /* it was consumed from as one of its ranks: that one's claims are gone */
	uint64_t tensors; /* sources read */
	uint64_t parameters;
	uint64_t bytes_read;	 /* from the shards, by the load itself */
	uint64_t bytes_direct;	 /* of those, from the disk past the page cache */
	uint64_t bytes_uploaded; /* placed in parameters */
	uint64_t bytes_verified; /* compared with the source */
	uint32_t verify_every;	 /* every which parameter was, 1: each, 0: none */
	double seconds;		 /* first byte asked to last byte arrived and consumed */
	double bytes_per_second; /* bytes_read / seconds */
	uint64_t peak_host_bytes;
	/* the lifetime peak of the process's cgroup, which others may share and earlier ones
	 * raised; 0: there is no cgroup, or it is the root */
	uint64_t cgroup_peak_bytes;
	uint64_t consumed_tensors;
	uint64_t consumed_bytes;
	uint64_t checkpoint_bytes; /* of all tensors, those that were not needed too */
	uint64_t unused_tensors;   /* no rank's parameter needs them; consumed at the end */
	uint32_t tp;		   /* ranks that the checkpoint was split for, 1: not at all */
	uint32_t rank;		   /* the one that was loaded */
	uint32_t ep;		   /* ranks that experts were shared out among, 1: not at all */
	enum wload_layout layout;
};

/* One look at a load, for a picture of it. */
struct wload_sample {
	double seconds;	       /* since the first look, just before the first byte is asked for */
	uint64_t host_bytes;   /* host memory then, as peak_host_bytes is defined */
	uint64_t device_bytes; /* that had arrived in parameters; with release they may be freed */
};

/* One parameter that was loaded, row-major: the stride of its last dimension is one element, of
 * every other one the product of the sizes behind it. With --release, on the null device, and once
 * it was taken, device_ptr is NULL. */
struct wload_loaded {
	const char *name;
	const uint64_t *shape;
	uint32_t rank;
	enum wload_dtype dtype;
	uint64_t bytes;
	void *device_ptr; /* owned by the load, row-major, 256-byte aligned */
};

/* Loads PATH, a mount's root, its ranks/R or a plain checkpoint, and waits until everything
 * arrived.
 *
 * ret_load  holds one reference
 *
 * Before the first byte is read it checks that the device exists and has the memory, that nothing
 * that it needs is consumed already, and that out_dir can be written. Nothing is consumed before it
 * has arrived, and with verify been compared. On failure what was consumed stays consumed; restore
 * brings it back.
 *
 * Returns 0, or what wload_checkpoint_open() and wload_plan_build() return, or
 *   -EINVAL   the options contradict each other, or the rank's folder that PATH is; the message
 *             says which
 *   -EOPNOTSUPP  io is WLOAD_IO_DIRECT, and a shard's filesystem has no O_DIRECT
 *   -ENODEV   no such device
 *   -ENOMEM   the parameters do not fit (device, or host where `auto` falls back to it, there with
 *             the staging and some slack; with release those that are there at once)
 *   -ESTALE   a needed tensor is consumed already, or a shard changed during the load
 *   -EBADMSG  verify found a difference; the message names the tensor and the first byte
 *   -EEXIST   out_dir already holds a checkpoint
 *   -ECANCELED  the progress callback returned false
 *   -EIO      a read or a copy failed. */
WLOAD_API int wload_load(const char *path, const struct wload_load_options *options,
			 struct wload_load **ret_load, struct wload_error *err);

WLOAD_API struct wload_load *wload_load_ref(struct wload_load *load);

/* Drops a reference; the last one frees the device memory. NULL is fine. */
WLOAD_API void wload_load_unref(struct wload_load *load);

WLOAD_API const struct wload_report *wload_load_report(const struct wload_load *load);
WLOAD_API enum wload_device_kind wload_load_device(const struct wload_load *load, int *ret_ordinal);
WLOAD_API uint32_t wload_load_count(const struct wload_load *load);
WLOAD_API const struct wload_loaded *wload_load_param(const struct wload_load *load,
						      uint32_t index);

/* How the load went, in the order of time: looks that were taken a hundred times a second, thinned
 * out evenly where there were more than some hundred of them, the one with more host memory of two
 * neighbours kept. The first and the last look, and the highest, are always among them.
 *
 * Returns borrowed samples, *ret_count of them, at least one. */
WLOAD_API const struct wload_sample *wload_load_samples(const struct wload_load *load,
							uint32_t *ret_count);

/* NULL when there is no parameter of that name. */
WLOAD_API const struct wload_loaded *wload_load_find(const struct wload_load *load,
						     const char *name);

/* The names of tensors that no rank's parameter needs; NULL past the last. */
WLOAD_API const char *wload_load_unused(const struct wload_load *load, uint32_t i);

/* What wload_checkpoint_warning() said of the checkpoint; NULL past the last. */
WLOAD_API const char *wload_load_warning(const struct wload_load *load, uint32_t i);

/* A parameter's memory that was taken from its load. */
struct wload_owned {
	void *device_ptr;
	uint64_t bytes;
};

/* Takes ownership of a parameter's memory, so that it can outlive the load, or be freed before the
 * others; to the load the parameter then is one without memory. Not at the same time as other calls
 * on that parameter.
 *
 * ret_owned  for wload_owned_free()
 *
 * Returns 0, -ENOENT when its memory was released, is of the null device, or was taken, -ENOMEM. */
WLOAD_API int wload_load_take(struct wload_load *load, uint32_t index,
			      struct wload_owned **ret_owned, struct wload_error *err);

/* Frees it: at once where the load was made with `apart`; else when nobody has any of the load's
 * parameters any more. NULL is fine; any thread. */
WLOAD_API void wload_owned_free(struct wload_owned *owned);

/* Exports a parameter as a DLPack tensor (https://dmlc.github.io/dlpack/latest/c_api.html,
 * DLManagedTensor), which holds its own reference to the load until its deleter runs.
 *
 * as_bits  export what NumPy lacks (BF16, 8-bit floats) as the unsigned integer of its width,
 *          instead of with DLPack's own code for it, which not every importer knows
 *
 * Returns 0, -EOPNOTSUPP for F4 and F6, -ENOENT when the parameter's memory was released,
 * -ENOMEM. */
struct DLManagedTensor;
WLOAD_API int wload_load_dlpack(struct wload_load *load, uint32_t index, bool as_bits,
				struct DLManagedTensor **ret_tensor, struct wload_error *err);

#ifdef __cplusplus
}
#endif
#endif
