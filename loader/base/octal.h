/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOAD_OCTAL_H
#define WLOAD_OCTAL_H

/* Undoes, in place, what the kernel does to the names in /proc/self/mountinfo and mounts: blanks,
 * newlines and backslashes are three octal digits there, "\040" (proc(5)). What is not of that form
 * stays as it is. */
void octal_decode(char *s);

#endif
