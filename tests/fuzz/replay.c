/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of the folders given, so that `make check` replays the corpus
 * with any compiler. A target that finds its property broken aborts: TAP then ends too early. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/base/cleanup.h"
#include "tests/unit/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Runs one file; the buffer has its exact size, so that a sanitizer sees each byte read too far. */
static bool replay(const char *path)
{
	FILE *file CLEANUP_FCLOSE = fopen(path, "rb");
	uint8_t *bytes CLEANUP_FREE = NULL;
	long len;

	if (!file || fseek(file, 0, SEEK_END) != 0 || (len = ftell(file)) < 0)
		return false;
	rewind(file);
	bytes = malloc(len > 0 ? (size_t)len : 1);
	if (!bytes || fread(bytes, 1, (size_t)len, file) != (size_t)len)
		return false;
	return LLVMFuzzerTestOneInput(bytes, (size_t)len) == 0;
}

static void replay_folder(struct tap *tap, const char *folder)
{
	struct dirent **entries = NULL;
	char path[4096];
	int i, count = scandir(folder, &entries, NULL, alphasort);

	for (i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			(void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
			ok(tap, replay(path), "%s", entries[i]->d_name);
		}
		free(entries[i]);
	}
	free(entries);
	if (count < 0)
		ok(tap, false, "cannot list '%s'", folder);
}

int main(int argc, char **argv)
{
	struct tap tap = {0};
	int i;

	for (i = 1; i < argc; i++)
		replay_folder(&tap, argv[i]);
	return tap_done(&tap);
}
