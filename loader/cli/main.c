/* SPDX-License-Identifier: Apache-2.0 */
/* wload: loads checkpoints, and talks to mounts. A table of commands, one file each; what they have
 * in common happens here once: usage, the error line, whether stdout took the result, exit codes.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/base/heap.h"
#include "loader/cli/cli.h"
#include "wloadfs/version.h"

static const struct command *const commands[] = {
	&command_load,	  &command_plan,    &command_ls,    &command_consume,
	&command_restore, &command_release, &command_stats,
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void overview(struct text *text)
{
	text_printf(text, "usage: wload [load] PATH [OPTION…]\n"
			  "       wload COMMAND PATH … [OPTION…]\n\n"
			  "Loads a safetensors checkpoint, or talks to a wloadfs mount.\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		text_printf(text, "  %-8s %-16s %s\n", commands[i]->name, commands[i]->arguments,
			    commands[i]->summary);
	text_printf(text, "\n'wload COMMAND --help' tells the options; wload(1) tells the rest. "
			  "A folder that is\nnamed like a command: 'wload ./load'.\n");
}

static void command_help(const struct command *command, struct text *text)
{
	text_printf(text, "usage: wload %s %s [OPTION…]\n\n%s.\n",
		    command == &command_load ? "[load]" : command->name, command->arguments,
		    command->summary);
	if (command->details)
		text_printf(text, "%s\n", command->details);
	text_printf(text, "\n");
	options_help(command->options, text);
}

/* Prints the line of a failure. */
static int report(int r, const struct wload_error *err)
{
	if (r >= 0)
		return EXIT_OK;
	(void)fprintf(stderr, "wload: %s\n", err->text);
	return r == CLI_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

static int run_command(const struct command *command, char *const *args)
{
	struct wload_error err = {0};
	struct options options = {0};

	if (options_parse(command->options, command->args_max, args, &options, &err) < 0)
		return report(CLI_USAGE, &err);
	if (options.help) {
		struct text text CLEANUP(text_free) = {0};

		command_help(command, &text);
		return report(cli_print(&text, &err), &err);
	}
	if (!options.path)
		return report(cli_usage(&err, "%s: PATH is missing; see 'wload %s --help'",
					command->name, command->name),
			      &err);
	return report(command->run(&options, &err), &err);
}

static int dispatch(char *const *argv)
{
	const char *first = argv[0] ? argv[1] : NULL;
	struct text text CLEANUP(text_free) = {0};
	const struct command *command;
	struct wload_error err = {0};

	if (!first)
		return report(cli_usage(&err, "PATH is missing; see 'wload --help'"), &err);
	if (!strcmp(first, "--version") || !strcmp(first, "-V")) {
		text_printf(&text, "wload %s\n", WLOAD_VERSION);
		return report(cli_print(&text, &err), &err);
	}
	if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
		overview(&text);
		return report(cli_print(&text, &err), &err);
	}
	command = find_command(first);
	return command ? run_command(command, argv + 2) : run_command(&command_load, argv + 1);
}

/* A descriptor 0, 1 or 2 that the caller closed would be given to the next file that is opened, and
 * be printed into. What takes its place refuses to be written. */
static void keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	int code;

	(void)argc;
	keep_standard_descriptors();
	heap_return_large_blocks();
	code = dispatch(argv);
	/* a full disk or a closed pipe often shows only now */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		(void)fprintf(stderr, "wload: cannot write to stdout: %s\n", strerror(errno));
		return code == EXIT_USAGE ? EXIT_USAGE : EXIT_FAILED;
	}
	return code;
}
