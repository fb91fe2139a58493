/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WLOADFS_LOG_H
#define WLOADFS_LOG_H

/* Messages: one line each, on the terminal while there is one, then in the system log. */

/* Says one line, without its newline. Any thread. */
void log_say(const char *text);

/* From now on to the system log: the terminal is gone. */
void log_to_syslog(void);

/* libfuse tells why something failed through its log alone, in pieces. Collected from here on,
 * until log_fuse_say(). */
void log_fuse_collect(void);

/* What was collected, one line; "" for nothing. Borrowed until the next log_fuse_ call. */
const char *log_fuse_collected(void);

/* From now on libfuse's messages are said as they come; `debug`: its requests printed as they are.
 */
void log_fuse_say(int debug);

#endif
