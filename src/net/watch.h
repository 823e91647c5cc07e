/* SPDX-License-Identifier: MIT
 *
 * A watch on a descriptor that somebody else opens and closes, such as a library's or a connection's second socket;
 * and, without a descriptor, a deadline and a next turn for a driver that has work of its own. No user ever sees
 * one. */
#ifndef TAVI_NET_WATCH_H
#define TAVI_NET_WATCH_H

#include "loop/manager.h"

struct tavi__watch;

struct tavi__watch_ops {
  void (*on_ready)(struct tavi__watch *w, unsigned events); /* 0: asked for by tavi__source_again() */
  void (*on_deadline)(struct tavi__watch *w);               /* perhaps early; NULL when none is ever set */
  /* The watch has ended, but not by tavi__watch_end(): the manager closes everything, or the system refuses to watch
   * this descriptor. It is still open, and the owner's to close. */
  void (*on_lost)(struct tavi__watch *w);
};

struct tavi__watch {
  struct tavi__source src; /* first; for tavi__source_want(), _again() and _deadline() */
  const struct tavi__watch_ops *ops;
  void *owner;
};

/* fd: borrowed; -1 for none. Owns: the manager, until tavi__watch_end() or on_lost. Returns 0, TAVI_E_NOMEM, or
 * TAVI_E_CLOSED while the manager closes everything. */
int tavi__watch_new(struct tavi_manager *m, int fd, const struct tavi__watch_ops *ops, void *owner,
                    struct tavi__watch **ret_watch);

/* Take the descriptor out of the poller at once, so that it may be closed or watched by somebody else, and call nobody
 * any more. Only inside a turn, since no set may change during a wait. NULL is accepted. Returns the descriptor. */
int tavi__watch_end(struct tavi__watch *w);

#endif
