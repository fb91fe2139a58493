/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_ERROR_H
#define WLOADFS_ERROR_H

/* How every function of libwload fails.
 *
 * A function returns 0 or a negative errno; the words travel beside it in a struct wload_error that
 * the caller owns, usually on its stack, and may leave out (NULL). The meanings are fixed:
 *
 *   EBADMSG     bytes break their format          EOPNOTSUPP  valid, but not supported
 *   E2BIG       over one of our limits            ENOENT      no such tensor, file or parameter
 *   ESTALE      a shard changed since it was opened, or a tensor was consumed before the load
 *   EIO         the device or the disk failed     ENOMEM      out of memory (host or device)
 *   EINVAL      an argument of the user's makes no sense
 */

#ifdef __cplusplus
extern "C" {
#endif

#define WLOAD_API	 __attribute__((visibility("default")))

#define WLOAD_ERROR_TEXT 1024

struct wload_error {
	int code;		     /* the positive errno, 0 while nothing failed */
	char text[WLOAD_ERROR_TEXT]; /* one line without newline, names in single quotes */
};

/* Fills err, when there is one, with a message and returns the error.
 *
 * err   may be NULL
 * code  a positive errno
 *
 * Returns -code. Control bytes that the arguments bring into the text become '?', so that the
 * message stays one line. */
WLOAD_API int wload_fail(struct wload_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
