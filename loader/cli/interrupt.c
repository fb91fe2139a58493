/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that ask a load to stop. A handler can reach nothing but a file's variables, so this file
 * has one, and nothing else in it. */

#include <signal.h>
#include <stddef.h>

#include "loader/cli/interrupt.h"

static const int stopping[] = {SIGINT, SIGTERM};

static volatile sig_atomic_t came;

static void note(int signal)
{
	came = signal;
}

void interrupt_start(void)
{
	/* SA_RESETHAND: the next one finds the default again */
	struct sigaction action = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND | SA_RESTART};

	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		struct sigaction before;

		/* one that the caller ignores (nohup, a shell's background job) stays ignored */
		if (sigaction(stopping[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			(void)sigaction(stopping[i], &action, NULL);
	}
}

bool interrupt_came(void)
{
	return came != 0;
}

void interrupt_end(void)
{
	int signal = (int)came;

	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		struct sigaction before;

		if (sigaction(stopping[i], NULL, &before) == 0 && before.sa_handler == note) {
			before.sa_handler = SIG_DFL;
			(void)sigaction(stopping[i], &before, NULL);
		}
	}
	if (signal)
		(void)raise(signal);
}
