/* SPDX-License-Identifier: MIT
 *
 * Two descriptors that make a poller wake up: a signal that another thread can raise, and an alarm clock. */
#ifndef TAVI_OS_WAKEFD_H
#define TAVI_OS_WAKEFD_H

#include <stdint.h>

/* Returns a non-blocking descriptor that is readable after tavi__wakefd_raise(), or a negative enum tavi_err. */
int tavi__wakefd_open(void);

/* Any thread. Raising twice before it is cleared is raising once. */
void tavi__wakefd_raise(int fd);

void tavi__wakefd_clear(int fd);

/* A descriptor that becomes readable at a time of the monotonic clock, or a negative enum tavi_err. */
int tavi__alarm_open(void);

/* at_ms: 0 turns it off; a time in the past makes it readable at once. */
void tavi__alarm_set(int fd, uint64_t at_ms);

#endif
