/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLI_INTERRUPT_H
#define WLOAD_CLI_INTERRUPT_H

/* SIGINT and SIGTERM during a load: the first asks it to stop, so that it can clear up what it was
 * writing; the second kills, as without us. */

#include <stdbool.h>

/* Catches both from now on. */
void interrupt_start(void);

/* Whether one came. */
bool interrupt_came(void);

/* Lets them kill again; when one came, dies of it, so that the caller's shell sees why. */
void interrupt_end(void);

#endif
