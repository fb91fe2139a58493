/* SPDX-License-Identifier: Apache-2.0 */
/* What one name costs: stat() or unlink() of every name given, without a process or a folder's
 * listing in between.
 *
 *   names stat|unlink DIR <NAMES
 *
 * stat goes through all of them twice: the first time each is looked up, the second time the kernel
 * may know it. Prints one JSON object: count, failed, first_us and again_us, or each_us. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2

struct names {
	char **name;
	size_t count, failed;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool read_names(struct names *names)
{
	char *line = NULL;
	size_t size = 0, room = 0;
	ssize_t len;

	while ((len = getline(&line, &size, stdin)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = 0;
		if (names->count == room) {
			room = room ? room * 2 : 1024;
			names->name = reallocarray(names->name, room, sizeof(char *));
		}
		if (!names->name || !(names->name[names->count++] = strdup(line)))
			return false;
	}
	free(line);
	return true;
}

/* Returns microseconds a name. */
static double each(struct names *names, int dir, bool remove)
{
	double begin = now_us();
	struct stat st;

	for (size_t i = 0; i < names->count; i++)
		if ((remove ? unlinkat(dir, names->name[i], 0)
			    : fstatat(dir, names->name[i], &st, AT_SYMLINK_NOFOLLOW)) < 0)
			names->failed++;
	return names->count ? (now_us() - begin) / (double)names->count : 0;
}

int main(int argc, char **argv)
{
	bool remove = argc == 3 && strcmp(argv[1], "unlink") == 0;
	static struct names names;
	double first, again = 0;
	int dir;

	if (argc != 3 || (!remove && strcmp(argv[1], "stat") != 0)) {
		(void)fprintf(stderr, "usage: names stat|unlink DIR <NAMES\n");
		return EXIT_USAGE;
	}
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || !read_names(&names)) {
		perror("names");
		return EXIT_FAILURE;
	}
	first = each(&names, dir, remove);
	if (!remove)
		again = each(&names, dir, false);
	printf("{\"count\":%zu,\"failed\":%zu,", names.count, names.failed);
	if (remove)
		printf("\"each_us\":%.3f}\n", first);
	else
		printf("\"first_us\":%.3f,\"again_us\":%.3f}\n", first, again);
	return 0;
}
