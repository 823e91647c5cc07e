/* SPDX-License-Identifier: MIT
 *
 * See watch.h. */
#include "net/watch.h"

#include <stdlib.h>

static struct tavi__watch *watch_of(struct tavi__source *s) { return TAVI__CONTAINER(s, struct tavi__watch, src); }

static void on_ready(struct tavi__source *s, unsigned events) { watch_of(s)->ops->on_ready(watch_of(s), events); }

static void on_deadline(struct tavi__source *s) { watch_of(s)->ops->on_deadline(watch_of(s)); }

static bool on_flush(struct tavi__source *s) {
  (void) s;
  return false;
}

static void on_wakeup(struct tavi__source *s, struct tavi_slice data) { (void) s, (void) data; }

static void on_failed(struct tavi__source *s, int err) { (void) s, (void) err; } /* it closes next */

static void on_closed(struct tavi__source *s) {
  struct tavi__watch *w = watch_of(s);
  if (w->owner != NULL) w->ops->on_lost(w);
}

static void destroy(struct tavi__source *s) { free(watch_of(s)); }

static const struct tavi__source_ops source_ops = {
    .kind = TAVI__KIND_UNTOLD,
    .on_ready = on_ready,
    .on_flush = on_flush,
    .on_deadline = on_deadline,
    .on_wakeup = on_wakeup,
    .on_failed = on_failed,
    .on_closed = on_closed,
    .destroy = destroy,
};

int tavi__watch_new(struct tavi_manager *m, int fd, const struct tavi__watch_ops *ops, void *owner,
                    struct tavi__watch **ret_watch) {
  struct tavi__watch *w = calloc(1, sizeof(*w));
  if (w == NULL) return TAVI_E_NOMEM;

  int err = tavi__source_open(&w->src, m, &source_ops, fd);
  if (err < 0) {
    free(w);
    return err;
  }
  w->ops = ops;
  w->owner = owner;
  *ret_watch = w;
  return 0;
}

int tavi__watch_end(struct tavi__watch *w) {
  if (w == NULL) return -1;

  struct tavi_manager *m = w->src.manager;
  int fd = w->src.io.fd;
  bool is_ours = !m->is_forked; /* epoll's set is shared */
  if (w->src.io.is_registered && is_ours) m->poller_ops->remove(m->poller, &w->src.io);
  tavi__pollable_init(&w->src.io, -1);
  w->owner = NULL;
  tavi__source_close(&w->src);
  return fd;
}
