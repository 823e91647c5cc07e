/* SPDX-License-Identifier: MIT
 *
 * See source.h. All of these only note something; the phases in loop.c act on it. */
#include "loop/source.h"

#include "loop/manager.h"

void tavi__source_queue(struct tavi__source *s) {
  struct tavi_manager *m = s->manager;
  if (!s->is_queued) {
    s->is_queued = true;
    s->next_work = NULL;
    *m->work_end = s;
    m->work_end = &s->next_work;
  }
  if (tavi__manager_is_watched(m)) tavi__manager_kick(m);
}

int tavi__source_open(struct tavi__source *s, struct tavi_manager *m, const struct tavi__source_ops *ops, int fd) {
  if (m->is_closing_all) return TAVI_E_CLOSED;

  s->ops = ops;
  s->manager = m;
  tavi__pollable_init(&s->io, fd);
  pthread_mutex_lock(&m->mail.lock);
  s->id = m->last_id + 1;
  bool ok = tavi__idmap_add(&m->ids, &s->id);
  if (ok) m->last_id++;
  pthread_mutex_unlock(&m->mail.lock);
  if (!ok) return TAVI_E_NOMEM;

  tavi__source_queue(s);
  return 0;
}

void tavi__source_close(struct tavi__source *s) {
  if (s->is_closing) return;

  s->is_closing = true;
  s->manager->closing_count++;
  tavi__source_queue(s);
}

void tavi__source_flush(struct tavi__source *s) {
  if (s->wants_flush || s->is_closing) return;

  s->wants_flush = s->manager->wants_flush = true;
  tavi__source_queue(s);
}

void tavi__source_again(struct tavi__source *s) {
  if (s->wants_again || s->is_closing) return;

  s->wants_again = true;
  tavi__source_queue(s);
}

void tavi__source_want(struct tavi__source *s, unsigned events) {
  if (s->io.want == events || s->is_closing) return; /* a close callback may still ask, for the last time */

  s->io.want = (uint8_t) events;
  if (events != s->io.has) tavi__source_queue(s);
}

void tavi__source_deadline_earlier(struct tavi__source *s, uint64_t at_ms) {
  struct tavi_manager *m = s->manager;
  if (tavi__wheel_has(&s->deadline)) tavi__wheel_remove(&s->deadline);
  if (tavi__manager_is_watched(m) && at_ms < tavi__wheel_next_ms(&m->deadlines)) tavi__manager_kick(m);
  tavi__wheel_add(&m->deadlines, &s->deadline, at_ms);
}
