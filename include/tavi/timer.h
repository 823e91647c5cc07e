/* SPDX-License-Identifier: MIT
 *
 * Timers: O(1) to start and to cancel, any number of them. They run on the loop's thread, inside tavi_manager_poll(),
 * and a due timer ends its wait. */
#ifndef TAVI_TIMER_H
#define TAVI_TIMER_H

#include "tavi/base.h"

TAVI_BEGIN_DECLS

struct tavi_manager;
struct tavi_timer;

typedef void (*tavi_timer_fn)(struct tavi_timer *t, void *user);

/* Start a timer.
 *
 * Units:   delay_ms from now until the first call, at most TAVI_TIMER_MS_MAX; 0 means in the next turn. period_ms
 *          between calls afterwards, 0 for once. Periods missed by a stall are left out, not made up.
 *          Never early; late by the length of a turn at most. Timers due in one turn run in the order of their times.
 *          One started from a callback is served in the next turn at the earliest.
 * Owns:    the manager. The handle is valid until the timer is cancelled or, for a single shot, until its callback
 *          has returned; so a caller that keeps it clears its copy in the callback.
 * Returns: 0, TAVI_E_NOMEM, TAVI_E_ARG (no callback, a time above the maximum). ret_timer may be NULL. */
TAVI_API int tavi_timer_start(struct tavi_manager *m, uint64_t delay_ms, uint64_t period_ms, tavi_timer_fn fn,
                              void *user, struct tavi_timer **ret_timer);

/* About 139 years. */
#define TAVI_TIMER_MS_MAX ((UINT64_C(1) << 42) - 1)

/* Cancel a timer: its callback is not called any more. Allowed inside the callback too. NULL is accepted. */
TAVI_API void tavi_timer_cancel(struct tavi_timer *t);

TAVI_END_DECLS

#endif
