/* SPDX-License-Identifier: MIT
 *
 * The two clocks. */
#ifndef TAVI_OS_CLOCK_H
#define TAVI_OS_CLOCK_H

#include <stdint.h>

/* Nanoseconds of the monotonic clock. */
uint64_t tavi__clock_ns(void);

/* Whole milliseconds of the same. */
uint64_t tavi__clock_ms(void);

/* Nanoseconds, and milliseconds, since 1970-01-01 UTC. */
int64_t tavi__clock_unix_ns(void);
int64_t tavi__clock_unix_ms(void);

#endif
