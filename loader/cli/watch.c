/* SPDX-License-Identifier: Apache-2.0 */
/* The mount is opened anew for each look and closed before the pause: what is held open can't be
 * unmounted. Signals that end the watch are a thread's: a look may wait in the kernel for a daemon
 * that answers nothing, and there nothing but the process's end is heard of. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "loader/base/cleanup.h"
#include "loader/cli/units.h"
#include "loader/cli/watch.h"
#include "loader/cli/watch_frame.h"
#include "wloadfs/mount.h"

#define PLAIN_COLUMNS 100

struct watcher {
	const char *path;
	bool in_place;
	unsigned int columns, lines;
	size_t drawn; /* lines of the last frame, above the cursor */
	bool began;   /* one was shown */
};

/* ---- looking ---------------------------------------------------------------------------------*/

struct look {
	struct numbers numbers;
	struct layers layers;
	bool has_layers;
};

static void look_free(struct look *look)
{
	numbers_free(&look->numbers);
	layers_free(&look->layers);
}

static void close_mount(struct wload_mount **mount)
{
	wload_mount_close(*mount);
}

static int look_at_layers(struct wload_mount *mount, struct look *look, struct wload_error *err)
{
	struct wload_error why = {0};
	char *json CLEANUP_FREE = NULL;
	int r = wload_mount_layers(mount, &json, &why);

	if (r == -ENOENT) /* a daemon that tells none */
		return 0;
	if (r < 0)
		return wload_fail(err, -r, "%s", why.text);
	r = layers_parse(json, strlen(json), &look->layers, err);
	look->has_layers = r == 0;
	return r;
}

static int look_at(const char *path, struct look *look, struct wload_error *err)
{
	struct wload_mount *mount CLEANUP(close_mount) = NULL;
	char *json CLEANUP_FREE = NULL;
	int r = wload_mount_open(path, &mount, err);

	if (r == 0)
		r = wload_mount_stats(mount, &json, err);
	if (r == 0)
		r = numbers_parse(json, &look->numbers, err);
	return r == 0 ? look_at_layers(mount, look, err) : r;
}

/* After a look that failed: is it because nothing is mounted there any more? A daemon that is being
 * unmounted breaks off what was asked of it. */
static bool is_gone(const char *path)
{
	struct wload_mount *mount CLEANUP(close_mount) = NULL;
	int r = wload_mount_open(path, &mount, NULL);

	return r == -ENODEV || r == -ENOENT;
}

/* ---- showing ---------------------------------------------------------------------------------*/

static void measure(struct watcher *w)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
		size = (struct winsize){.ws_col = 80, .ws_row = 24};
	/* what was drawn may have been wrapped, into who knows how many lines */
	if (w->drawn && (w->columns != size.ws_col || w->lines != size.ws_row)) {
		(void)printf("\033[H\033[2J");
		w->drawn = 0;
	}
	w->columns = size.ws_col;
	w->lines = size.ws_row;
}

static void now_text(char text[16])
{
	time_t now = time(NULL);
	struct tm tm;

	text[0] = '\0';
	if (localtime_r(&now, &tm))
		(void)strftime(text, 16, "%H:%M:%S", &tm);
}

/* In place: the cursor goes up to where the last frame began, and each line clears what it does not
 * cover. */
static void draw(struct watcher *w, const struct text *frame)
{
	const char *line = frame->s, *end;
	size_t lines = 0;

	if (w->drawn)
		(void)printf("\033[%zuA", w->drawn);
	for (; (end = strchr(line, '\n')); line = end + 1, lines++)
		(void)printf("%.*s\033[K\n", (int)(end - line), line);
	(void)printf("\033[J");
	w->drawn = lines;
}

static int show(struct watcher *w, const struct look *look, struct wload_error *err)
{
	struct text text CLEANUP(text_free) = {0};
	struct frame frame = {.path = w->path,
			      .numbers = &look->numbers,
			      .layers = look->has_layers ? &look->layers : NULL,
			      .columns = PLAIN_COLUMNS,
			      .lines = FRAME_UNBOUNDED};
	char now[16];

	if (w->in_place) {
		measure(w);
		frame.columns = w->columns;
		frame.lines = w->lines;
	}
	now_text(now);
	frame.time = now;
	watch_frame(&frame, &text);
	if (text.failed)
		return wload_fail(err, ENOMEM, "out of memory");
	if (w->in_place)
		draw(w, &text);
	else
		(void)printf("%s%s", w->began ? "\n" : "", text.s);
	w->began = true;
	if (fflush(stdout) != 0)
		return wload_fail(err, errno, "cannot write to stdout: %s", strerror(errno));
	return 0;
}

/* ---- waiting ---------------------------------------------------------------------------------*/

static const int ending_signals[] = {SIGINT, SIGTERM};
#define ENDING_COUNT (sizeof(ending_signals) / sizeof(ending_signals[0]))

/* Those that somebody ignores for us (nohup, a shell's background job) stay ignored. */
static void block_signals(void)
{
	struct sigaction action;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < ENDING_COUNT; i++)
		if (sigaction(ending_signals[i], NULL, &action) == 0 &&
		    action.sa_handler != SIG_IGN)
			sigaddset(&set, ending_signals[i]);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Takes SIGINT for success, and dies of SIGTERM. */
static void *end_by_signal(void *unused)
{
	sigset_t blocked, ending;
	int signal;

	(void)unused;
	sigemptyset(&ending);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	for (size_t i = 0; i < ENDING_COUNT; i++)
		if (sigismember(&blocked, ending_signals[i]))
			sigaddset(&ending, ending_signals[i]);
	if (sigwait(&ending, &signal) == 0 && signal == SIGINT)
		_exit(0);
	(void)pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
	(void)raise(SIGTERM);
	return NULL;
}

static int start_ending(struct wload_error *err)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, end_by_signal, NULL);

	if (r)
		return wload_fail(err, r, "cannot start a thread: %s", strerror(r));
	(void)pthread_detach(thread);
	return 0;
}

/* A terminal's new size cuts it short. */
static void pause_for(uint64_t ms)
{
	struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	sigset_t resized;
	int signal;

	sigemptyset(&resized);
	sigaddset(&resized, SIGWINCH);
	do
		signal = sigtimedwait(&resized, NULL, &time);
	while (signal < 0 && errno == EINTR);
}

/* Returns 0 when the mount went, or -errno. */
static int watch_on(struct watcher *w, uint64_t interval_ms, struct wload_error *err)
{
	for (;;) {
		struct look look CLEANUP(look_free) = {0};
		int r = look_at(w->path, &look, err);

		if (r < 0 && w->began && is_gone(w->path))
			return 0;
		if (r == 0)
			r = show(w, &look, err);
		if (r < 0)
			return r;
		pause_for(interval_ms);
	}
}

int watch(const char *path, uint64_t interval_ms, struct wload_error *err)
{
	const char *term = getenv("TERM");
	struct watcher w = {.path = path,
			    .in_place = isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0};
	struct text gone CLEANUP(text_free) = {0};
	int r;

	block_signals();
	r = start_ending(err);
	if (r == 0)
		r = watch_on(&w, interval_ms, err);
	if (r < 0)
		return r;
	units_name(&gone, path);
	(void)printf("'%s' is no longer mounted\n", gone.s ? gone.s : "");
	return 0;
}
