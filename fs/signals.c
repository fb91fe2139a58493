/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that takes signals (signals.h). The loop notices the end of its session only between
 * two waits, so it is woken by a signal without a meaning of its own, again until it has returned.
 */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "fs/evict.h"
#include "fs/signals.h"

#define WAKE_SIGNAL   SIGUSR2
#define WAKE_AGAIN_NS 20000000
#define STOP_SIGNAL   SIGUSR1 /* from signals_stop() to the thread */

struct signals {
	struct wloadfs *fs;
	pthread_t thread, loop;
	atomic_bool loop_over;
};

static void do_nothing(int signal)
{
	(void)signal;
}

static void signal_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, STOP_SIGNAL);
}

static void *signals_main(void *arg)
{
	struct signals *s = arg;
	struct timespec again = {.tv_nsec = WAKE_AGAIN_NS};
	sigset_t set;
	int signal;

	signal_set(&set);
	while (sigwait(&set, &signal) != 0)
		;
	if (signal == STOP_SIGNAL)
		return NULL;
	evictor_stop(s->fs);
	fuse_session_exit(s->fs->session);
	while (!atomic_load(&s->loop_over)) {
		pthread_kill(s->loop, WAKE_SIGNAL);
		nanosleep(&again, NULL);
	}
	return NULL;
}

int signals_start(struct wloadfs *fs, struct signals **ret)
{
	struct sigaction wake = {.sa_handler = do_nothing}; /* no SA_RESTART: it is to interrupt */
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct signals *s = calloc(1, sizeof(*s));
	sigset_t set;
	int r;

	if (!s)
		return -ENOMEM;
	s->fs = fs;
	s->loop = pthread_self();
	sigaction(WAKE_SIGNAL, &wake, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	signal_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r = pthread_create(&s->thread, NULL, signals_main, s);
	if (r) {
		free(s);
		return -r;
	}
	*ret = s;
	return 0;
}

void signals_stop(struct signals *signals)
{
	if (!signals)
		return;
	atomic_store(&signals->loop_over, true);
	pthread_kill(signals->thread, STOP_SIGNAL);
	pthread_join(signals->thread, NULL);
	free(signals);
}
