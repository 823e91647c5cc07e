/* SPDX-License-Identifier: MIT
 *
 * One turn of the loop; tavi_manager_poll() at the end of this file is the table of contents.
 *
 * Two things may surprise:
 *  - Sending comes after everything that makes bytes (I/O, wakeups, timers), so that all replies of a turn leave with
 *    one system call per connection; and closing comes after sending, so that nothing is freed while a handler runs
 *    and nothing needs to be checked for having been freed.
 *  - Only sources with work are looked at (`m->work`). One that is idle is in the kernel's set and, perhaps, in the
 *    wheel of deadlines, and costs nothing. The list is also what keeps a turn from waiting when something is left
 *    over. */
#include <limits.h>
#include <stdlib.h>

#include "base/hint.h"
#include "loop/log.h"
#include "loop/manager.h"
#include "os/clock.h"
#include "os/errors.h"
#include "os/sock.h"
#include "os/wakefd.h"

static struct tavi__source *source_of(struct tavi__pollable *p) { return TAVI__CONTAINER(p, struct tavi__source, io); }

/* ==== waking ==== */

void tavi__manager_kick(struct tavi_manager *m) {
  if (!atomic_exchange(&m->mail.is_raised, true)) tavi__wakefd_raise(m->wake.fd);
}

uint64_t tavi__manager_now(struct tavi_manager *m) {
  if (!m->is_in_turn || m->is_waiting) m->now_ms = tavi__clock_ms();
  return m->now_ms;
}

/* ==== waiting ==== */

static bool has_work(const struct tavi_manager *m) { return m->work != NULL || m->has_mail; }

/* The first time at which something becomes due, as far as the wheels know. */
static uint64_t next_due_ms(const struct tavi_manager *m) {
  uint64_t timer = tavi__wheel_next_ms(&m->timers), deadline = tavi__wheel_next_ms(&m->deadlines);
  return timer < deadline ? timer : deadline;
}

/* For the system: -1 is no limit. now_ms was rounded down, so the wait never ends before `then`. */
static int ms_until(uint64_t now_ms, uint64_t then_ms) {
  if (then_ms == UINT64_MAX) return -1;
  uint64_t ms = then_ms > now_ms ? then_ms - now_ms : 0;
  return ms < INT_MAX ? (int) ms : INT_MAX;
}

static int sleep_until(struct tavi_manager *m, int timeout_ms) {
  m->is_waiting = true;
  if (m->opts.before_wait != NULL) m->opts.before_wait(m->opts.hook_user);
  int n = m->poller_ops->wait(m->poller, timeout_ms, m->ready, TAVI__READY_MAX);
  if (m->opts.after_wait != NULL) m->opts.after_wait(m->opts.hook_user);
  m->is_waiting = false;
  return n;
}

/* Wait for readiness, a due timer, or the end of the time. Returns the number of ready descriptors, or an error.
 *
 * The wheel knows the next due time only roughly when it is far away, so a wait that ends without anything is
 * continued unless it was a signal that ended it (which the caller wants to know of). */
static int wait_ready(struct tavi_manager *m, int timeout_ms) {
  uint64_t now_ms = tavi__clock_ms(), end_ms = timeout_ms < 0 ? UINT64_MAX : now_ms + (uint64_t) timeout_ms, then_ms;
  int n;
  do {
    then_ms = has_work(m) ? now_ms : next_due_ms(m);
    if (then_ms > end_ms) then_ms = end_ms;
    int ms = ms_until(now_ms, then_ms);
    if (ms == 0) {
      n = m->poller_ops->wait(m->poller, 0, m->ready, TAVI__READY_MAX);
    } else {
      n = sleep_until(m, ms);
      now_ms = tavi__clock_ms();
    }
    m->now_ms = now_ms;
    tavi__wheel_advance(&m->timers, now_ms);
    tavi__wheel_advance(&m->deadlines, now_ms);
  } while (n == 0 && then_ms <= now_ms && now_ms < end_ms && !has_work(m) && next_due_ms(m) > now_ms);
  return n;
}

/* ==== serving ==== */

static void serve_ready(struct tavi_manager *m, int count) {
  for (int i = 0; i < count && !m->is_broken; i++) {
    struct tavi__pollable *p = m->ready[i].pollable;
    if (p == &m->wake) {
      tavi__wakefd_clear(p->fd);
      atomic_store(&m->mail.is_raised, false);
      m->has_mail = true;
    } else if (p == &m->alarm) {
      m->alarm_ms = 0; /* it has rung; set anew at the end of the turn */
    } else if (!source_of(p)->is_closing) {
      m->callbacks++;
      source_of(p)->ops->on_ready(source_of(p), m->ready[i].events);
    }
  }
}

/* What was left over by the last turn. Work that is added meanwhile is for the next one. */
static TAVI__APART void serve_leftovers(struct tavi_manager *m) {
  struct tavi__source **end = m->work_end;
  for (struct tavi__source *s = m->work; s != NULL && !m->is_broken; s = s->next_work) {
    bool is_last = &s->next_work == end;
    if (s->wants_again && !s->is_closing) {
      s->wants_again = false;
      m->callbacks++;
      s->ops->on_ready(s, 0);
    }
    if (is_last) break;
  }
}

static struct tavi__source *find(const struct tavi_manager *m, uint64_t id) {
  const uint64_t *found = tavi__idmap_find(&m->ids, id);
  return found == NULL ? NULL : TAVI__CONTAINER(found, struct tavi__source, id);
}

static void serve_wakeups(struct tavi_manager *m) {
  uint64_t id;
  struct tavi_slice data;
  if (m->is_broken) return;

  /* The rest of a turn that was broken off comes first. Behind it may be newer mail, for which nobody rings again. */
  m->has_mail = tavi__mailbox_has_batch(&m->mail);
  if (!tavi__mailbox_take(&m->mail)) return;
  while (!m->is_broken && tavi__mailbox_next(&m->mail, &id, &data)) {
    struct tavi__source *s = find(m, id);
    if (s == NULL || s->is_closing) continue;
    m->callbacks++;
    s->ops->on_wakeup(s, data);
  }
  if (tavi__mailbox_has_batch(&m->mail)) m->has_mail = true;
}

/* What other threads have to tell: wakeups, then jobs that are done. */
static TAVI__APART void serve_mail(struct tavi_manager *m) {
  serve_wakeups(m);
  tavi__work_serve(m);
}

static TAVI__APART void serve_deadlines(struct tavi_manager *m) {
  struct tavi__node now;
  tavi__list_init(&now);
  tavi__list_move_front(&m->deadlines.due, &now);
  while (!tavi__list_empty(&now) && !m->is_broken) {
    struct tavi__source *s = TAVI__CONTAINER(now.next, struct tavi__source, deadline.node);
    tavi__wheel_remove(&s->deadline);
    if (!s->is_closing) s->ops->on_deadline(s);
  }
  tavi__list_move_front(&now, &m->deadlines.due);
}

/* ==== the end of the turn ==== */

TAVI__HOT void flush(struct tavi_manager *m) {
  for (int round = 0; m->wants_flush && round < TAVI__FLUSH_ROUNDS; round++) {
    m->wants_flush = false;
    for (struct tavi__source *s = m->work; s != NULL; s = s->next_work) {
      if (!s->wants_flush || s->is_closing) continue;
      s->wants_flush = false;
      m->callbacks++;
      if (s->ops->on_flush(s)) s->wants_flush = m->wants_flush = true;
    }
  }
}

static TAVI__APART void watch(struct tavi_manager *m, struct tavi__source *s) {
  if (s->io.fd < 0) return;
  if (s->io.want == TAVI__UNWATCHED) {
    if (s->io.is_registered) m->poller_ops->remove(m->poller, &s->io);
    return;
  }

  int err = m->poller_ops->update(m->poller, &s->io);
  if (err == 0) return;
  tavi__log(m, TAVI_LOG_ERROR, "connection %llu cannot be watched: %s", (unsigned long long) s->id, tavi_err_text(err));
  s->ops->on_failed(s, err);
  tavi__source_close(s);
}

/* The only place where anything ends. */
static TAVI__APART void finish(struct tavi_manager *m, struct tavi__source *s) {
  m->closing_count--;
  m->callbacks++;
  if (tavi__wheel_has(&s->deadline)) tavi__wheel_remove(&s->deadline);
  if (s->io.is_registered && !m->is_forked) m->poller_ops->remove(m->poller, &s->io); /* epoll's set is shared */
  pthread_mutex_lock(&m->mail.lock);
  tavi__idmap_remove(&m->ids, s->id); /* from here on wakeups for it are refused */
  pthread_mutex_unlock(&m->mail.lock);
  s->ops->on_closed(s);
  s->ops->destroy(s);
}

/* Go through those with work once more: the closed ones end, the open ones are registered with the system, and what
 * still has something to do stays for the next turn. Close callbacks may close others; those end now, too. */
TAVI__HOT void settle(struct tavi_manager *m) {
  do {
    struct tavi__source *s = m->work, *next;
    m->work = NULL;
    m->work_end = &m->work;
    for (; s != NULL; s = next) {
      next = s->next_work;
      s->is_queued = false;
      if (s->is_closing) {
        finish(m, s);
      } else {
        if (s->io.want != s->io.has || !s->io.is_registered) watch(m, s);
        if (s->wants_flush || s->wants_again) tavi__source_queue(s);
      }
    }
  } while (m->closing_count > 0);
}

/* A foreign loop sleeps on our descriptor: make it readable when the next turn is due. */
static void set_alarm(struct tavi_manager *m) {
  if (has_work(m)) {
    tavi__manager_kick(m);
    return;
  }
  uint64_t due_ms = next_due_ms(m), ms = due_ms == UINT64_MAX ? 0 : due_ms == 0 ? 1 : due_ms;
  if (ms == m->alarm_ms && ms != 0) return;
  tavi__alarm_set(m->alarm.fd, ms);
  m->alarm_ms = ms;
}

/* Newest first, as things are taken down: what was made by something else goes before it. */
static void close_each(struct tavi_manager *m) {
  size_t count = tavi__manager_ids(m, true, NULL, 0);
  uint64_t *ids = malloc((count + 1) * sizeof(*ids));
  for (struct tavi__source *s = m->work; s != NULL; s = s->next_work) s->is_queued = s->is_closing;
  for (m->work_end = &m->work; *m->work_end != NULL;) { /* those that close already keep their place */
    if ((*m->work_end)->is_queued)
      m->work_end = &(*m->work_end)->next_work;
    else
      *m->work_end = (*m->work_end)->next_work;
  }

  if (ids != NULL) {
    tavi__manager_ids(m, true, ids, count);
    while (count > 0) tavi__source_close(find(m, ids[--count]));
    free(ids);
    return;
  }
  for (size_t i = 0; m->ids.bits != 0 && i < (size_t) 1 << m->ids.bits; i++) /* no memory: in any order */
    if (m->ids.place[i] != NULL) tavi__source_close(find(m, *m->ids.place[i]));
}

int tavi__manager_finish_all(struct tavi_manager *m) {
  if (m->is_in_turn) return TAVI_E_BUSY;

  m->is_in_turn = true;
  m->is_closing_all = true;
  m->is_broken = false;
  m->is_forked = m->process_id != tavi__process_id();
  close_each(m);
  settle(m);
  tavi__timers_cancel_all(m);
  m->is_closing_all = false;
  m->is_in_turn = false;
  if (m->alarm.fd >= 0) set_alarm(m);
  return 0;
}

/* ==== the turn ==== */

/* What was opened, sent on or closed since the last turn: that does not have to wait. */
static TAVI__APART void serve_between(struct tavi_manager *m) {
  m->now_ms = tavi__clock_ms();
  flush(m);
  settle(m);
}

int tavi_manager_poll(struct tavi_manager *m, int timeout_ms) {
  if (m->is_in_turn) return TAVI_E_BUSY;

  m->is_in_turn = true;
  m->is_broken = false;
  m->callbacks = 0;
  m->turn++;
  if (m->work != NULL) serve_between(m);
  int ready = wait_ready(m, m->callbacks > 0 || m->is_broken ? 0 : timeout_ms);
  if (m->work != NULL) serve_leftovers(m);
  serve_ready(m, ready);
  if (m->has_mail) serve_mail(m);
  if (!tavi__list_empty(&m->timers.due)) tavi__timers_serve(m);
  if (!tavi__list_empty(&m->deadlines.due)) serve_deadlines(m);
  flush(m);
  settle(m);
  m->is_in_turn = false;
  if (m->alarm.fd >= 0) set_alarm(m);
  return ready < 0 ? ready : m->callbacks;
}
