/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECKPOINT_OF_H
#define CHECKPOINT_OF_H

/* Writes a small Llama of two shards, one of them with nothing aligned, into a new folder. The byte
 * at i of a tensor is llama_byte(name, i), so whoever holds a tensor can tell whether it is right.
 */

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/checkpoint/safetensors.h"

#define LLAMA_WIDTH   64
#define LLAMA_LAYERS  6
#define LLAMA_TENSORS (LLAMA_LAYERS * 9 + 5)

struct llama {
	char folder[64];
	unsigned int scale; /* rows of every matrix are this many times as many */
};

static const struct {
	const char *name;
	unsigned int rows; /* 0: a vector */
} llama_layer[9] = {
	{"self_attn.q_proj.weight", 64},	{"self_attn.k_proj.weight", 16},
	{"self_attn.v_proj.weight", 16},	{"self_attn.o_proj.weight", 64},
	{"mlp.gate_proj.weight", 96},		{"mlp.up_proj.weight", 96},
	{"mlp.down_proj.weight", 80},		{"input_layernorm.weight", 0},
	{"post_attention_layernorm.weight", 0},
};

static inline uint8_t llama_byte(const char *name, uint64_t i)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return (uint8_t)(h + i * 37 + (i >> 8) * 11 + (i >> 16) * 5);
}

/* A tensor while it is being laid out. */
struct llama_tensor {
	char name[96];
	uint64_t shape[2];
	uint32_t rank;
	enum wload_dtype dtype;
	uint64_t bytes;
};

static inline struct llama_tensor llama_tensor(const char *name, uint64_t rows, uint32_t rank,
					       enum wload_dtype dtype)
{
	struct llama_tensor t = {.shape = {rows, LLAMA_WIDTH}, .rank = rank, .dtype = dtype};

	(void)snprintf(t.name, sizeof(t.name), "%s", name);
	t.bytes = wload_dtype_describe(dtype)->bits / 8;
	for (uint32_t i = 0; i < rank; i++)
		t.bytes *= t.shape[i];
	return t;
}

static inline int llama_write_shard(const char *path, const struct llama_tensor *tensors,
				    size_t count)
{
	struct wload_tensor heads[LLAMA_TENSORS];
	uint8_t *header = NULL, *body = NULL;
	uint64_t at = 0;
	size_t len;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644), r = -1;

	for (size_t i = 0; i < count; i++) {
		heads[i] = (struct wload_tensor){.name = tensors[i].name,
						 .shape = tensors[i].shape,
						 .rank = tensors[i].rank,
						 .dtype = tensors[i].dtype,
						 .offset = at,
						 .bytes = tensors[i].bytes};
		at += tensors[i].bytes;
	}
	if (fd >= 0 && safetensors_write_header(heads, count, &header, &len, NULL) == 0 &&
	    (body = malloc(at + 1))) {
		for (size_t i = 0; i < count; i++)
			for (uint64_t b = 0; b < tensors[i].bytes; b++)
				body[heads[i].offset + b] = llama_byte(tensors[i].name, b);
		r = write(fd, header, len) == (ssize_t)len && write(fd, body, at) == (ssize_t)at
			    ? 0
			    : -1;
	}
	if (fd >= 0)
		close(fd);
	free(header);
	free(body);
	return r;
}

static inline int llama_write_text(const struct llama *llama, const char *name, const char *text)
{
	char path[160];
	int fd, r;

	(void)snprintf(path, sizeof(path), "%s/%s", llama->folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	r = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	if (fd >= 0)
		close(fd);
	return r;
}

static inline int llama_make(struct llama *llama, unsigned int scale)
{
	static struct llama_tensor tensors[LLAMA_TENSORS];
	char path[160], name[96];
	size_t n = 0, cut;

	*llama = (struct llama){.folder = "/tmp/wload-test-XXXXXX", .scale = scale};
	if (!mkdtemp(llama->folder))
		return -1;
	tensors[n++] = llama_tensor("model.embed_tokens.weight", 50 * scale, 2, WLOAD_DTYPE_BF16);
	tensors[n++] = llama_tensor("odd", 7, 1, WLOAD_DTYPE_U8);
	tensors[n++] = llama_tensor("scalar", 0, 0, WLOAD_DTYPE_F32);
	tensors[n++] = llama_tensor("empty", 0, 1, WLOAD_DTYPE_F32);
	tensors[n++] = llama_tensor("model.norm.weight", LLAMA_WIDTH, 1, WLOAD_DTYPE_BF16);
	cut = n + LLAMA_LAYERS / 2 * 9;
	for (int layer = 0; layer < LLAMA_LAYERS; layer++)
		for (int i = 0; i < 9; i++) {
			unsigned int rows = llama_layer[i].rows;

			(void)snprintf(name, sizeof(name), "model.layers.%d.%s", layer,
				       llama_layer[i].name);
			tensors[n++] = llama_tensor(name, rows ? rows * scale : LLAMA_WIDTH,
						    rows ? 2 : 1, WLOAD_DTYPE_BF16);
		}
	(void)snprintf(path, sizeof(path), "%s/a.safetensors", llama->folder);
	if (llama_write_shard(path, tensors, cut) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/b.safetensors", llama->folder);
	if (llama_write_shard(path, tensors + cut, n - cut) < 0)
		return -1;
	return llama_write_text(llama, "config.json", "{\"model_type\": \"llama\"}");
}

static inline int llama_remove_one(const char *path, const struct stat *st, int type,
				   struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void llama_remove(const struct llama *llama)
{
	(void)nftw(llama->folder, llama_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Is this the parameter of that name, whole? */
static inline bool llama_matches(const char *param, const uint8_t *bytes, uint64_t n,
				 unsigned int scale)
{
	static const struct {
		const char *into, *from[3];
		unsigned int rows[3];
	} fused[] = {{"qkv_proj", {"q_proj", "k_proj", "v_proj"}, {64, 16, 16}},
		     {"gate_up_proj", {"gate_proj", "up_proj", NULL}, {96, 96, 0}}};
	uint64_t at = 0;

	for (size_t f = 0; f < 2; f++) {
		const char *into = strstr(param, fused[f].into);

		for (int s = 0; into && s < 3 && fused[f].from[s]; s++) {
			uint64_t part = (uint64_t)fused[f].rows[s] * scale * LLAMA_WIDTH * 2;
			char name[128];

			(void)snprintf(name, sizeof(name), "%.*s%s%s", (int)(into - param), param,
				       fused[f].from[s], into + strlen(fused[f].into));
			for (uint64_t i = 0; i < part; i++, at++)
				if (at >= n || bytes[at] != llama_byte(name, i))
					return false;
		}
		if (into)
			return at == n;
	}
	for (; at < n; at++)
		if (bytes[at] != llama_byte(param, at))
			return false;
	return true;
}

#endif
