/* SPDX-License-Identifier: MIT
 *
 * Timers of the user: tavi/timer.h on top of a wheel.
 *
 * A timer carries the number of the turn that made it, and is left for a later one by tavi__timers_serve() when that is
 * the current turn: so a handler that starts a 0 ms timer each time cannot keep the loop in its timer phase.
 *
 * Their memory comes in slabs, which the manager keeps until its end: starting and cancelling are a few instructions
 * each with a million timers too, where malloc and free would be most of the cost. What is kept is the largest number
 * that ever ran at once, 64 bytes each. */
#include <stdlib.h>

#include "loop/manager.h"
#include "os/clock.h"
#include "tavi/timer.h"

struct tavi_timer {
  struct tavi__wheel_entry entry;
  struct tavi_manager *manager;
  uint64_t period_ms;
  tavi_timer_fn fn;
  void *user;
  uint32_t turn;     /* in which it was made or last due */
  bool is_running;   /* its callback is */
  bool is_cancelled; /* during that */
};

enum { SLAB_TIMERS = 63 }; /* 4 KiB with the link */

struct tavi__timer_slab {
  struct tavi__timer_slab *next;
  struct tavi_timer timers[SLAB_TIMERS];
};

static struct tavi_timer *timer_of(struct tavi__node *n) { return TAVI__CONTAINER(n, struct tavi_timer, entry.node); }

/* A spare one is linked by its node's `next`. */
static void give(struct tavi_manager *m, struct tavi_timer *t) {
  t->entry.node.next = m->spare_timers;
  m->spare_timers = &t->entry.node;
}

static bool add_slab(struct tavi_manager *m) {
  struct tavi__timer_slab *slab = malloc(sizeof(*slab));
  if (slab == NULL) return false;

  slab->next = m->timer_slabs;
  m->timer_slabs = slab;
  for (int i = SLAB_TIMERS - 1; i >= 0; i--) give(m, &slab->timers[i]);
  return true;
}

static struct tavi_timer *take(struct tavi_manager *m) {
  if (m->spare_timers == NULL && !add_slab(m)) return NULL;

  struct tavi_timer *t = timer_of(m->spare_timers);
  m->spare_timers = t->entry.node.next;
  return t;
}

int tavi_timer_start(struct tavi_manager *m, uint64_t delay_ms, uint64_t period_ms, tavi_timer_fn fn, void *user,
                     struct tavi_timer **ret_timer) {
  if (fn == NULL || delay_ms > TAVI_TIMER_MS_MAX || period_ms > TAVI_TIMER_MS_MAX) return TAVI_E_ARG;
  if (m->is_closing_all) return TAVI_E_CLOSED;

  struct tavi_timer *t = take(m);
  if (t == NULL) return TAVI_E_NOMEM;

  *t = (struct tavi_timer){.manager = m, .period_ms = period_ms, .fn = fn, .user = user, .turn = m->turn};
  /* Rounded up, since the turn's time is rounded down: never early. Not for 0 ms, which are over in the next turn. */
  uint64_t now_ns = tavi__clock_ns(), at_ms = delay_ms == 0 ? now_ns / 1000000 : (now_ns + 999999) / 1000000 + delay_ms;
  if (m->is_waiting) t->turn--; /* made by another thread during the wait: this turn may serve it */
  if (tavi__manager_is_watched(m) && at_ms < tavi__wheel_next_ms(&m->timers)) tavi__manager_kick(m);
  tavi__wheel_add(&m->timers, &t->entry, at_ms);
  if (ret_timer != NULL) *ret_timer = t;
  return 0;
}

void tavi_timer_cancel(struct tavi_timer *t) {
  if (t == NULL) return;

  if (t->is_running) {
    t->is_cancelled = true;
  } else {
    tavi__wheel_remove(&t->entry);
    give(t->manager, t);
  }
}

static void run(struct tavi_manager *m, struct tavi_timer *t) {
  t->is_running = true;
  m->callbacks++;
  t->fn(t, t->user);
  t->is_running = false;
  if (t->is_cancelled || t->period_ms == 0) {
    give(t->manager, t);
    return;
  }

  uint64_t next_ms = t->entry.at_ms + t->period_ms;
  if (next_ms <= m->now_ms) /* periods were missed: leave them out and keep the beat */
    next_ms += ((m->now_ms - next_ms) / t->period_ms + 1) * t->period_ms;
  tavi__wheel_add(&m->timers, &t->entry, next_ms);
}

void tavi__timers_serve(struct tavi_manager *m) {
  struct tavi__node now, later;
  tavi__list_init(&now);
  tavi__list_init(&later);
  tavi__list_move_front(&m->timers.due, &now);
  while (!tavi__list_empty(&now) && !m->is_broken) {
    struct tavi_timer *t = timer_of(now.next);
    tavi__list_remove(&t->entry.node);
    if (t->turn == m->turn)
      tavi__list_append(&later, &t->entry.node);
    else
      run(m, t);
  }
  tavi__list_move_front(&now, &m->timers.due);
  tavi__list_move_front(&later, &m->timers.due);
}

void tavi__timers_cancel_all(struct tavi_manager *m) {
  for (int l = 0; l < TAVI__WHEEL_LEVELS; l++)
    for (int s = 0; s < TAVI__WHEEL_SLOTS; s++) tavi__list_move_front(&m->timers.slot[l][s], &m->timers.due);
  while (!tavi__list_empty(&m->timers.due)) tavi_timer_cancel(timer_of(m->timers.due.next));
}

void tavi__timers_free(struct tavi_manager *m) {
  while (m->timer_slabs != NULL) {
    struct tavi__timer_slab *slab = m->timer_slabs;
    m->timer_slabs = slab->next;
    free(slab);
  }
}
