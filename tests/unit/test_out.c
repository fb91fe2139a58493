/* SPDX-License-Identifier: Apache-2.0 */
/* loader/pipeline/out.c: what it makes is there whole or not at all, and what others made stays. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loader/pipeline/out.h"
#include "plan_of.h"
#include "tap.h"

#define INDEX "model.safetensors.index.json"

/* What is made in the folder by somebody else, when, and what comes of it. */
static const struct row {
	const char *name, *before, *meanwhile;
	int want_open, want_commit;
	const char *words;  /* that the error holds */
	unsigned int files; /* that are left */
} rows[] = {
	{"all is well", NULL, NULL, 0, 0, "", 4},
	{"a config.json that is there stays", "config.json", NULL, 0, 0, "", 4},
	{"a partial file is left", ".config.json.partial", NULL, -EEXIST, 0,
	 "/.config.json.partial' was left by an interrupted load, remove it", 1},
	{"a partial shard is left", ".model-00002-of-00002.safetensors.partial", NULL, -EEXIST, 0,
	 "was left by an interrupted load, remove it", 1},
	{"somebody makes config.json", NULL, "config.json", 0, -EEXIST, "config.json", 1},
	{"somebody makes the index", NULL, INDEX, 0, -EEXIST, INDEX, 1},
	{"somebody makes a shard", NULL, "model-00002-of-00002.safetensors", 0, -EEXIST, "00002",
	 1},
};

static void make(const char *dir, const char *name)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd >= 0)
		close(fd);
}

static unsigned int count_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned int n = 0;

	while (dir && (entry = readdir(dir)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (dir)
		closedir(dir);
	return n;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void check_row(struct tap *tap, const struct row *row, const struct plan_of *made)
{
	char dir[] = "/tmp/wload-test-XXXXXX";
	struct wload_error err = {0};
	struct out *out = NULL;
	bool pass = mkdtemp(dir);
	int r;

	if (row->before)
		make(dir, row->before);
	r = out_open(dir, made->plan, "{}", 4, &out, &err);
	pass = pass && r == row->want_open;
	if (pass && r == 0) {
		if (row->meanwhile)
			make(dir, row->meanwhile);
		pass = out_commit(out, &err) == row->want_commit;
		out_close(out);
	}
	ok(tap, pass && strstr(err.text, row->words) && count_files(dir) == row->files,
	   "%s: %u files (%s)", row->name, count_files(dir), err.text);
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	static const struct plan_of_tensor tensors[] = {{"a", WLOAD_DTYPE_U8, 4},
							{"b", WLOAD_DTYPE_U8, 4}};
	struct wload_error err = {0};
	struct tap tap = {0};
	struct plan_of made;

	if (ok(&tap, plan_of(tensors, 2, &made, &err) == 0, "a plan"))
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			check_row(&tap, &rows[i], &made);
	plan_of_free(&made);
	return tap_done(&tap);
}
