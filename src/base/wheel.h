/* SPDX-License-Identifier: MIT
 *
 * A hierarchical timing wheel: O(1) to add and to remove, whatever the number of entries.
 *
 * Level 0 has a slot per millisecond of the current block of 64 ms, level 1 a slot per 64 ms of the current block of
 * 4,096 ms, and so on. An entry lies in the level of the highest bit (in groups of six) in which its time differs
 * from the wheel's, so it is touched once per level on its way down. A heap would cost O(log n) for each of the
 * millions of time-outs that are cancelled before they are due; nearly all are.
 *
 * Knows no clock: time is an argument, in milliseconds. Not a timer: whoever owns the entries takes them from `due`. */
#ifndef TAVI_BASE_WHEEL_H
#define TAVI_BASE_WHEEL_H

#include <stdint.h>

#include "base/list.h"

enum { TAVI__WHEEL_BITS = 6, TAVI__WHEEL_SLOTS = 64, TAVI__WHEEL_LEVELS = 8 };

struct tavi__wheel_entry {
  struct tavi__node node; /* node.next == NULL: not in the wheel */
  uint64_t at_ms;
};

struct tavi__wheel {
  uint64_t now_ms;                        /* up to here everything is in `due` */
  uint64_t next_ms;                       /* nothing moves before this: a lower bound, so that asking costs nothing */
  struct tavi__node due;                  /* in the order of their times */
  uint64_t maybe[TAVI__WHEEL_LEVELS];     /* bit s is set when slot s may hold something (cleared lazily) */
  struct tavi__node slot[TAVI__WHEEL_LEVELS][TAVI__WHEEL_SLOTS];
};

void tavi__wheel_init(struct tavi__wheel *w, uint64_t now_ms);

/* Add an entry that is not in the wheel; at_ms <= now_ms makes it due at once. */
void tavi__wheel_add(struct tavi__wheel *w, struct tavi__wheel_entry *e, uint64_t at_ms);

/* Take an entry out of the wheel, or out of `due`. */
void tavi__wheel_remove(struct tavi__wheel_entry *e);

static inline bool tavi__wheel_has(const struct tavi__wheel_entry *e) { return e->node.next != NULL; }

/* Move the time forward; what is due by then goes to the end of `due`. A time in the past is ignored. */
void tavi__wheel_advance_far(struct tavi__wheel *w, uint64_t now_ms);

static inline void tavi__wheel_advance(struct tavi__wheel *w, uint64_t now_ms) {
  if (w->next_ms <= now_ms)
    tavi__wheel_advance_far(w, now_ms);
  else if (w->now_ms < now_ms)
    w->now_ms = now_ms;
}

/* The earliest time at which advancing could do something: now_ms when something is due, UINT64_MAX when the wheel is
 * known to be empty. A lower bound of the first entry's time: entries that are further away than their block are
 * looked at when it begins, and what was removed may still be counted in. */
static inline uint64_t tavi__wheel_next_ms(const struct tavi__wheel *w) {
  return tavi__list_empty(&w->due) ? w->next_ms : w->now_ms;
}

#endif
