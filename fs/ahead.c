/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the next piece of a tensor's file before it is asked for (ahead.h).
 *
 * The kernel reads nothing ahead on direct I/O, so one reader waits for every piece twice: while it
 * is copied out of the page cache, and while it is copied to him. Here the first copy of a piece is
 * made beside the second one of the piece before it:
 *
 *     a worker     reply 1 | take 2, reply 2 | take 3, reply 3
 *     our thread   read 2  | read 3          | read 4
 *
 * A stream is a file and where its last READ ended; a READ that goes on there is the stream's next.
 * Streams are a small table, not a part of handles: a place that was not read from for longest is
 * taken over, and nothing has to be found when a handle goes. Two threads keep a reader busy, so
 * with more readers than half the CPUs nothing is read ahead: their copies are all there is to do.
 * (Mapping the shard and replying from the mapping saves one copy, and costs more than that in page
 * faults and in unmapping, without which nothing could be evicted.) */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/ahead.h"
#include "fs/view.h"
#include "loader/base/cleanup.h"

#define STREAMS	     16
#define THREADS_MAX  8u
#define PIECE_MIN    (256u << 10)  /* waking a thread costs as much as copying less */
#define ACTIVE_READS (2 * STREAMS) /* a stream not read from during so many READs has ended */

enum stream_state {
	STREAM_EMPTY,	/* nothing read ahead */
	STREAM_WANTED,	/* for a thread to read */
	STREAM_READING, /* by a thread, without the lock; the stream keeps its place */
	STREAM_READY,	/* in buf */
};

struct stream {
	struct node node;
	uint64_t end;	     /* of the last READ: where the piece begins */
	size_t large, small; /* bytes of the last READ, and of the small one that follows each */
	size_t len;	     /* of the piece, as wanted */
	ssize_t got;	     /* of it, once ready */
	size_t skip;	     /* where it begins in buf */
	char *buf;	     /* AHEAD_PIECE_BYTES; NULL until needed */
	enum stream_state state;
	uint64_t read_at; /* the READ that was the last, counted; 0: free */
};

struct ahead {
	struct wloadfs *fs;
	pthread_mutex_t lock; /* of all below but the threads */
	pthread_cond_t wanted, done;
	struct stream stream[STREAMS];
	uint64_t reads;
	unsigned int streams_max; /* active ones with which reading ahead pays */
	unsigned int pauses;	  /* evictions now */
	bool stop;
	pthread_t thread[THREADS_MAX];
	unsigned int threads;
};

/* ---- the table; lock held ---- */

static struct stream *find(struct ahead *ahead, struct node node, uint64_t offset)
{
	for (struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		if (s->read_at && s->end == offset && node_id(s->node) == node_id(node))
			return s;
	return NULL;
}

/* The place of the stream that was read from least recently; NULL when all are being read. */
static struct stream *oldest(struct ahead *ahead)
{
	struct stream *found = NULL;

	for (struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		if (s->state != STREAM_READING && (!found || s->read_at < found->read_at))
			found = s;
	return found;
}

static struct stream *find_wanted(struct ahead *ahead)
{
	for (struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		if (s->state == STREAM_WANTED)
			return s;
	return NULL;
}

static bool pays(const struct ahead *ahead)
{
	unsigned int active = 0;

	for (const struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		active += s->read_at && ahead->reads - s->read_at < ACTIVE_READS;
	return active <= ahead->streams_max;
}

/* ---- READs ---- */

/* Gives out what the READ is of a stream's piece: by exchanging buffers, or, of a small one, a
 * copy.
 */
static ssize_t take(struct stream *s, size_t size, char **buf, const char **ret_bytes)
{
	size_t got = (size_t)s->got, skip = s->skip;
	char *mine = *buf;

	/* What is shorter than wanted ends the file. */
	if (s->state != STREAM_READY || (got < size && got == s->len))
		return -EAGAIN;
	if (size < PIECE_MIN && size < got) {
		*ret_bytes = memcpy(mine, s->buf + skip, size);
		s->skip += size;
		s->got -= (ssize_t)size;
		s->len -= size;
		return (ssize_t)size;
	}
	*ret_bytes = s->buf + skip;
	*buf = s->buf;
	s->buf = mine;
	s->state = STREAM_EMPTY;
	return got < size ? s->got : (ssize_t)size;
}

/* Moves a stream behind a READ. */
static void advance(struct ahead *ahead, struct stream *s, uint64_t offset, size_t size)
{
	/* A client's buffer that begins inside a page takes a page more than a request has: every
	 * read of 1 MiB arrives as a large READ and a small one. */
	if (size >= PIECE_MIN)
		s->large = size;
	else
		s->small = size;
	s->end = offset + size;
	s->read_at = ++ahead->reads;
}

/* Has a stream's next piece read, where there is enough of it. */
static void want(struct wloadfs *fs, struct stream *s)
{
	struct ahead *ahead = fs->ahead;
	size_t len = s->large + s->small;

	if (s->end + PIECE_MIN > view_bytes(fs, s->node)) {
		s->read_at = 0;
		return;
	}
	if (!pays(ahead) || view_is_gone(fs, s->node))
		return;
	s->len = len < AHEAD_PIECE_BYTES ? len : AHEAD_PIECE_BYTES;
	s->skip = 0;
	s->state = STREAM_WANTED;
	pthread_cond_signal(&ahead->wanted);
}

ssize_t ahead_take(struct wloadfs *fs, struct node node, uint64_t offset, size_t size, char **buf,
		   const char **ret_bytes)
{
	struct ahead *ahead = fs->ahead;
	ssize_t n = -EAGAIN;
	struct stream *s;
	bool begun;

	if (!ahead || size > AHEAD_PIECE_BYTES)
		return n;
	LOCK_SCOPE(&ahead->lock);

	while ((s = find(ahead, node, offset)) && s->state == STREAM_READING)
		pthread_cond_wait(&ahead->done, &ahead->lock);
	begun = offset == 0 || s;
	if (s) {
		n = take(s, size, buf, ret_bytes);
	} else {
		s = size >= PIECE_MIN ? oldest(ahead) : NULL;
		if (!s)
			return n;
		*s = (struct stream){.node = node, .buf = s->buf};
	}
	if (n < 0)
		s->state = STREAM_EMPTY;
	advance(ahead, s, offset, size);
	if (begun && s->state == STREAM_EMPTY)
		want(fs, s);
	return n;
}

/* ---- consumption ---- */

static bool is_reading(const struct ahead *ahead)
{
	for (const struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		if (s->state == STREAM_READING)
			return true;
	return false;
}

/* A tensor is marked before this is called, and ahead_take() looks at the mark under the lock: what
 * it had wanted by now is found here. */
void ahead_pause(struct wloadfs *fs)
{
	struct ahead *ahead = fs->ahead;

	if (!ahead)
		return;
	LOCK_SCOPE(&ahead->lock);

	ahead->pauses++;
	while (is_reading(ahead))
		pthread_cond_wait(&ahead->done, &ahead->lock);
	for (struct stream *s = ahead->stream; s < ahead->stream + STREAMS; s++)
		if (s->read_at && view_is_gone(fs, s->node))
			*s = (struct stream){.buf = s->buf};
}

void ahead_resume(struct wloadfs *fs)
{
	struct ahead *ahead = fs->ahead;

	if (!ahead)
		return;
	LOCK_SCOPE(&ahead->lock);

	if (--ahead->pauses == 0 && find_wanted(ahead))
		pthread_cond_broadcast(&ahead->wanted);
}

/* ---- the threads ---- */

/* Reads a stream's piece. Lock held, and let go of meanwhile. */
static void read_piece(struct ahead *ahead, struct stream *s)
{
	s->state = STREAM_READING;
	pthread_mutex_unlock(&ahead->lock);
	if (!s->buf)
		s->buf = aligned_alloc(4096, AHEAD_PIECE_BYTES);
	s->got = s->buf ? view_read_node(ahead->fs, s->node, s->end, s->len, s->buf) : -ENOMEM;
	pthread_mutex_lock(&ahead->lock);
	s->state = s->got > 0 ? STREAM_READY : STREAM_EMPTY;
	pthread_cond_broadcast(&ahead->done);
}

static void *ahead_main(void *arg)
{
	struct ahead *ahead = arg;
	struct stream *s;
	LOCK_SCOPE(&ahead->lock);

	while (!ahead->stop) {
		s = ahead->pauses ? NULL : find_wanted(ahead);
		if (s)
			read_piece(ahead, s);
		else
			pthread_cond_wait(&ahead->wanted, &ahead->lock);
	}
	return NULL;
}

/* Those that we may run on: a container, or taskset(1), may have left us few. */
static unsigned int cpu_count(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned int)CPU_COUNT(&set);
	return online > 0 ? (unsigned int)online : 1;
}

int ahead_start(struct wloadfs *fs)
{
	unsigned int cpus = cpu_count();
	struct ahead *ahead;
	sigset_t all, old;
	int r = 0;

	if (cpus < 2)
		return 0;
	ahead = calloc(1, sizeof(*ahead));
	if (!ahead)
		return -ENOMEM;
	ahead->fs = fs;
	ahead->streams_max = cpus / 2;
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->wanted, NULL);
	pthread_cond_init(&ahead->done, NULL);
	fs->ahead = ahead;
	/* Signals are for the main thread, which waits for them. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	while (r == 0 && ahead->threads < ahead->streams_max && ahead->threads < THREADS_MAX) {
		r = pthread_create(&ahead->thread[ahead->threads], NULL, ahead_main, ahead);
		ahead->threads += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ahead->threads == 0)
		ahead_stop(fs);
	return -r;
}

void ahead_stop(struct wloadfs *fs)
{
	struct ahead *ahead = fs->ahead;

	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->stop = true;
	pthread_cond_broadcast(&ahead->wanted);
	pthread_mutex_unlock(&ahead->lock);
	while (ahead->threads)
		pthread_join(ahead->thread[--ahead->threads], NULL);
	for (size_t i = 0; i < STREAMS; i++)
		free(ahead->stream[i].buf);
	pthread_cond_destroy(&ahead->wanted);
	pthread_cond_destroy(&ahead->done);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
	fs->ahead = NULL;
}
