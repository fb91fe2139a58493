/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_CLEANUP_H
#define WLOAD_CLEANUP_H

/* Ownership by scope: a local that owns something says so where it is declared, initialised there
 * (to NULL or -1 when it owns nothing yet), and gives it away with TAKE_PTR or TAKE_FD. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static inline pthread_mutex_t *lock_taken(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

#define CLEANUP_FREE   CLEANUP(cleanup_free)
#define CLEANUP_FD     CLEANUP(cleanup_close)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)

/* Holds a mutex until the end of the scope. One a scope. */
#define LOCK_SCOPE(lock)                                                         \
	pthread_mutex_t *lock_scope_ CLEANUP(cleanup_unlock) = lock_taken(lock); \
	(void)lock_scope_

#define TAKE_PTR(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})

#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#endif
