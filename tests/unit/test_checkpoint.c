/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints written into a folder of their own under TMPDIR. A shard is given as a word of
 * letters: each is a tensor of that name, one byte of U8. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "loader/base/cleanup.h"
#include "loader/checkpoint/safetensors.h"
#include "tap.h"
#include "wloadfs/checkpoint.h"

enum { FILES_MAX = 6 };

struct file {
	const char *name;
	const char *letters; /* of a shard */
	const char *text;    /* of any other file */
};

static const struct {
	const char *rule;
	struct file files[FILES_MAX];
	const char *path; /* below the folder; NULL: the folder itself */
	int want;
	const char *names;   /* the tensors, in disk order */
	const char *message; /* part of the error, or of the first warning; NULL: no warning */
} rows[] = {
	{"every *.safetensors, in the order of names",
	 {{"b.safetensors", "xy", NULL}, {"a.safetensors", "z", NULL}},
	 NULL,
	 0,
	 "zxy",
	 NULL},
	{"neither consolidated* nor hidden files",
	 {{"a.safetensors", "x", NULL},
	  {"consolidated.safetensors", "x", NULL},
	  {".b.safetensors", NULL, "?"}},
	 NULL,
	 0,
	 "x",
	 NULL},
	{"one file",
	 {{"a.safetensors", "x", NULL}, {"b.safetensors", "y", NULL}},
	 "b.safetensors",
	 0,
	 "y",
	 NULL},
	{"the index decides",
	 {{"a.safetensors", "x", NULL},
	  {"b.safetensors", "y", NULL},
	  {"model.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"b.safetensors\"}}"}},
	 NULL,
	 0,
	 "y",
	 NULL},
	{"the only index, whatever its name",
	 {{"a.safetensors", "x", NULL},
	  {"b.safetensors", "y", NULL},
	  {"q.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"b.safetensors\"}}"}},
	 NULL,
	 0,
	 "y",
	 NULL},
	{"of several indexes model.safetensors.index.json",
	 {{"a.safetensors", "x", NULL},
	  {"b.safetensors", "y", NULL},
	  {"a.safetensors.index.json", NULL, "{"},
	  {"model.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"b.safetensors\"}}"}},
	 NULL,
	 0,
	 "y",
	 NULL},
	{"several indexes and no main one",
	 {{"a.safetensors.index.json", NULL, "{"}, {"b.safetensors.index.json", NULL, "{"}},
	 NULL,
	 -EOPNOTSUPP,
	 NULL,
	 "holds several indexes ('a.safetensors.index.json', 'b."},
	{"a copy placed elsewhere is left out",
	 {{"a.safetensors", "xy", NULL},
	  {"b.safetensors", "yz", NULL},
	  {"model.safetensors.index.json", NULL,
	   "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\",\"z\":\"b."
	   "safetensors\"}}"}},
	 NULL,
	 0,
	 "xyz",
	 "shard 'a.safetensors' holds tensors that the index places elsewhere (1, first 'y')"},
	{"an unlisted tensor is kept",
	 {{"a.safetensors", "xuv", NULL},
	  {"model.safetensors.index.json", NULL, "{\"weight_map\":{\"x\":\"a.safetensors\"}}"}},
	 NULL,
	 0,
	 "xuv",
	 "shard 'a.safetensors' holds tensors that the index does not list (2, first 'u')"},
	{"an unlisted tensor in two shards",
	 {{"a.safetensors", "xu", NULL},
	  {"b.safetensors", "yu", NULL},
	  {"model.safetensors.index.json", NULL,
	   "{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}"}},
	 NULL,
	 -EBADMSG,
	 NULL,
	 "tensor 'u' is in shard 'a.safetensors' and in shard 'b.safetensors'"},
	{"the index names a tensor that its shard lacks",
	 {{"a.safetensors", "x", NULL},
	  {"model.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"a.safetensors\"}}"}},
	 NULL,
	 -EBADMSG,
	 NULL,
	 "the index places tensor 'y' in 'a.safetensors', which lacks it"},
	{"the index names a shard that is not there",
	 {{"model.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"a.safetensors\"}}"}},
	 NULL,
	 -ENOENT,
	 NULL,
	 "a.safetensors': No such file"},
	{"the index leads outside",
	 {{"model.safetensors.index.json", NULL, "{\"weight_map\":{\"y\":\"../a\"}}"}},
	 NULL,
	 -EOPNOTSUPP,
	 NULL,
	 "index 'model.safetensors.index.json': the shard '../a'"},
	{"without an index no name twice",
	 {{"a.safetensors", "x", NULL}, {"b.safetensors", "x", NULL}},
	 NULL,
	 -EBADMSG,
	 NULL,
	 "tensor 'x' is in shard 'a.safetensors' and in shard 'b.safetensors'"},
	{"no shards", {{"README", NULL, "hello"}}, NULL, -ENOENT, NULL, "no shards"},
	{"no such path", {{0}}, "missing", -ENOENT, NULL, "missing': No such file"},
	{"a broken header names its shard",
	 {{"a.safetensors", NULL, "\2\0\0"}},
	 NULL,
	 -EBADMSG,
	 NULL,
	 "a.safetensors': a file of 1 bytes is too short for a header"},
	{"a shard with no tensors", {{"a.safetensors", "", NULL}}, NULL, 0, "", NULL},
};

static void write_bytes(const char *path, const void *bytes, size_t len)
{
	FILE *out CLEANUP_FCLOSE = fopen(path, "wb");

	if (!out || fwrite(bytes, 1, len, out) != len)
		abort();
}

static void write_shard(const char *path, const char *letters)
{
	static const uint64_t one[] = {1};
	struct wload_tensor tensors[32] = {0};
	char names[32][2] = {0}, text[4096];
	uint8_t *header CLEANUP_FREE = NULL;
	size_t i, len, count = strlen(letters);

	for (i = 0; i < count; i++) {
		names[i][0] = letters[i];
		tensors[i] = (struct wload_tensor){.name = names[i],
						   .shape = one,
						   .rank = 1,
						   .dtype = WLOAD_DTYPE_U8,
						   .offset = i,
						   .bytes = 1};
	}
	if (safetensors_write_header(tensors, count, &header, &len, NULL) < 0)
		abort();
	memcpy(text, header, len);
	memcpy(text + len, letters, count);
	write_bytes(path, text, len + count);
}

static void make_folder(char *folder, size_t cap)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(folder, cap, "%s/wload-checkpoint.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(folder))
		abort();
}

static void fill_folder(const char *folder, const struct file *files)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < FILES_MAX && files[i].name; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
		if (files[i].letters)
			write_shard(path, files[i].letters);
		else
			write_bytes(path, files[i].text, strlen(files[i].text));
	}
}

static void remove_folder(const char *folder, const struct file *files)
{
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < FILES_MAX && files[i].name; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, files[i].name);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

/* Whether the tensors are these, each holding its own name's letter. */
static bool holds(const struct wload_checkpoint *ckpt, const char *names)
{
	const struct wload_inventory *inv = wload_checkpoint_inventory(ckpt);
	struct wload_tensor t;
	uint32_t i;
	char c;

	if (wload_inventory_count(inv) != strlen(names))
		return false;
	for (i = 0; names[i]; i++) {
		t = wload_inventory_tensor(inv, i);
		if (t.name[0] != names[i] ||
		    pread(wload_checkpoint_shard(ckpt, t.shard)->fd, &c, 1, (off_t)t.offset) != 1 ||
		    c != names[i])
			return false;
	}
	return true;
}

static void test_row(struct tap *tap, size_t i)
{
	struct wload_checkpoint *ckpt = NULL;
	struct wload_error err = {0};
	char folder[512], path[PATH_MAX];
	const char *said, *want = rows[i].message;
	bool pass;
	int r;

	make_folder(folder, sizeof(folder));
	fill_folder(folder, rows[i].files);
	(void)snprintf(path, sizeof(path), "%s%s%s", folder, rows[i].path ? "/" : "",
		       rows[i].path ? rows[i].path : "");
	r = wload_checkpoint_open(path, NULL, NULL, &ckpt, &err);
	said = r < 0 ? err.text : wload_checkpoint_warning(ckpt, 0);
	pass = r == rows[i].want && !said == !want && (!want || strstr(said, want)) &&
	       (r < 0 || holds(ckpt, rows[i].names));
	if (!ok(tap, pass, "%s", rows[i].rule))
		printf("# got %d %s\n", r, said ? said : "");
	wload_checkpoint_close(ckpt);
	remove_folder(folder, rows[i].files);
}

static void test_shards(struct tap *tap)
{
	static const struct file files[] = {{"a.safetensors", "xy", NULL},
					    {"b.safetensors", "", NULL},
					    {"c.safetensors", "z", NULL},
					    {"config.json", NULL, "{\"a\":1}"},
					    {NULL, NULL, NULL},
					    {NULL, NULL, NULL}};
	const struct wload_shard *a, *b, *c;
	struct wload_checkpoint *ckpt = NULL;
	struct wload_error err = {0};
	char folder[512], path[PATH_MAX];
	struct stat st;

	make_folder(folder, sizeof(folder));
	fill_folder(folder, files);
	if (!ok(tap, wload_checkpoint_open(folder, NULL, NULL, &ckpt, &err) == 0, "open"))
		return;
	a = wload_checkpoint_shard(ckpt, 0);
	b = wload_checkpoint_shard(ckpt, 1);
	c = wload_checkpoint_shard(ckpt, 2);
	ok(tap,
	   a->first == 0 && a->end == 2 && b->first == 2 && b->end == 2 && c->first == 2 &&
		   c->end == 3,
	   "each shard knows its tensors");
	ok(tap,
	   fstat(a->fd, &st) == 0 && st.st_ino == a->ino && (uint64_t)st.st_size == a->bytes &&
		   a->bytes == a->data_offset + 2,
	   "and its file");
	ok(tap, strcmp(wload_checkpoint_config(ckpt), "{\"a\":1}") == 0, "config.json is read");
	ok(tap,
	   wload_checkpoint_file(ckpt) == NULL && wload_checkpoint_folder(ckpt)[0] == '/' &&
		   faccessat(wload_checkpoint_folder_fd(ckpt), "c.safetensors", R_OK, 0) == 0,
	   "the folder is held");
	ok(tap, wload_checkpoint_check(ckpt, 0, NULL) == 0, "check: unchanged");
	(void)snprintf(path, sizeof(path), "%s/a.safetensors", folder);
	write_bytes(path, "", 0);
	ok(tap,
	   wload_checkpoint_check(ckpt, 0, &err) == -ESTALE && strstr(err.text, "a.safetensors"),
	   "check: a shard that was written to is stale");
	wload_checkpoint_close(ckpt);
	remove_folder(folder, files);
}

/* A Hugging Face snapshot links to blobs elsewhere; what a link leads to must be a regular file. */
static void test_links(struct tap *tap)
{
	static const struct file files[] = {{"blob", "x", NULL}, {"a.safetensors", NULL, NULL},
					    {NULL, NULL, NULL},	 {NULL, NULL, NULL},
					    {NULL, NULL, NULL},	 {NULL, NULL, NULL}};
	struct wload_checkpoint *ckpt = NULL;
	struct wload_error err = {0};
	char folder[512], path[PATH_MAX];

	make_folder(folder, sizeof(folder));
	(void)snprintf(path, sizeof(path), "%s/blob", folder);
	write_shard(path, "x");
	(void)snprintf(path, sizeof(path), "%s/a.safetensors", folder);
	ok(tap,
	   symlink("blob", path) == 0 && wload_checkpoint_open(path, NULL, NULL, &ckpt, &err) == 0,
	   "a shard may be a symlink");
	ok(tap, ckpt && strcmp(wload_checkpoint_file(ckpt), "a.safetensors") == 0,
	   "and keeps its own name");
	wload_checkpoint_close(ckpt);
	(void)unlink(path);
	ok(tap,
	   mkfifo(path, 0600) == 0 &&
		   wload_checkpoint_open(folder, NULL, NULL, &ckpt, &err) == -EINVAL,
	   "a FIFO is refused without waiting for it");
	remove_folder(folder, files);
}

static void test_config(struct tap *tap)
{
	static const struct file files[] = {{"a.safetensors", "x", NULL}, {"config.json", NULL, ""},
					    {NULL, NULL, NULL},		  {NULL, NULL, NULL},
					    {NULL, NULL, NULL},		  {NULL, NULL, NULL}};
	struct wload_checkpoint *ckpt = NULL;
	char folder[512], path[PATH_MAX];

	make_folder(folder, sizeof(folder));
	fill_folder(folder, files);
	(void)snprintf(path, sizeof(path), "%s/config.json", folder);
	write_bytes(path, "{}\0{}", 5);
	ok(tap,
	   wload_checkpoint_open(folder, NULL, NULL, &ckpt, NULL) == 0 &&
		   !wload_checkpoint_config(ckpt) &&
		   strstr(wload_checkpoint_warning(ckpt, 0), "holds a NUL"),
	   "a config.json with a NUL is a warning");
	wload_checkpoint_close(ckpt);
	remove_folder(folder, files);
}

static int open_elsewhere(void *ctx, const char *name, int *ret_fd, char **ret_path,
			  struct wload_error *err)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*ret_fd < 0)
		return wload_fail(err, ENOENT, "no '%s'", path);
	*ret_path = strdup(path);
	return 0;
}

static void test_opener(struct tap *tap)
{
	static const struct file here[FILES_MAX] = {{"a.safetensors", "x", NULL}};
	static const struct file there[FILES_MAX] = {{"a.safetensors", "y", NULL}};
	struct wload_checkpoint *ckpt = NULL;
	char folder[512], elsewhere[512];

	make_folder(folder, sizeof(folder));
	make_folder(elsewhere, sizeof(elsewhere));
	fill_folder(folder, here);
	fill_folder(elsewhere, there);
	ok(tap,
	   wload_checkpoint_open(folder, open_elsewhere, elsewhere, &ckpt, NULL) == 0 &&
		   holds(ckpt, "y"),
	   "an opener may lead elsewhere");
	wload_checkpoint_close(ckpt);
	remove_folder(elsewhere, there);
	ok(tap, wload_checkpoint_open(folder, open_elsewhere, elsewhere, &ckpt, NULL) == -ENOENT,
	   "what it fails with is returned");
	remove_folder(folder, here);
}

int main(void)
{
	struct tap tap = {0};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		test_row(&tap, i);
	test_shards(&tap);
	test_links(&tap);
	test_config(&tap);
	test_opener(&tap);
	wload_checkpoint_close(NULL);
	return tap_done(&tap);
}
