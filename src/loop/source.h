/* SPDX-License-Identifier: MIT
 *
 * A source: what the loop knows of a connection or a listener. A descriptor, an id, a deadline, work to do at the end
 * of the turn, and a table of what to call. The loop never learns what lies behind it.
 *
 * Life: tavi__source_open() -> (registered at the end of the turn) -> tavi__source_close() marks -> at the end of the
 * turn the descriptor is closed, ops->on_closed is called, ops->destroy frees. Nothing is freed anywhere else. */
#ifndef TAVI_LOOP_SOURCE_H
#define TAVI_LOOP_SOURCE_H

#include "base/wheel.h"
#include "os/poller.h"
#include "tavi/base.h"

struct tavi_manager;
struct tavi__source;

enum tavi__source_kind {
  TAVI__KIND_CONN,
  TAVI__KIND_LISTENER,
  TAVI__KIND_UNTOLD /* what no user knows of, or not yet: in no look-up by id */
};

struct tavi__source_ops {
  enum tavi__source_kind kind;
  /* Something is ready: TAVI__IN, TAVI__OUT, TAVI__HUP; 0 when it was asked for by tavi__source_again(). */
  void (*on_ready)(struct tavi__source *s, unsigned events);
  /* Send what is queued. Returns true when something is left that does not wait for the peer. */
  bool (*on_flush)(struct tavi__source *s);
  void (*on_deadline)(struct tavi__source *s);
  void (*on_wakeup)(struct tavi__source *s, struct tavi_slice data);
  void (*on_failed)(struct tavi__source *s, int err); /* the system refuses to watch the descriptor; the source closes
                                                       * next */
  void (*on_closed)(struct tavi__source *s); /* the last callback to the user */
  void (*destroy)(struct tavi__source *s);
};

struct tavi__source {
  const struct tavi__source_ops *ops;
  struct tavi_manager *manager;
  uint64_t id;
  struct tavi__source *next_work;      /* in the manager's list of those with work; see is_queued */
  struct tavi__wheel_entry deadline;   /* when to call on_deadline; the owner may find that it is early, and sets it
                                        * again */
  struct tavi__pollable io;            /* io.fd is -1 while there is no socket */
  bool is_queued : 1;                  /* in the list */
  bool wants_flush : 1;
  bool wants_again : 1;
  bool is_closing : 1;
};

/* Give a source its id and make it findable. Returns 0, TAVI_E_NOMEM, or TAVI_E_CLOSED while the manager closes
 * everything. */
int tavi__source_open(struct tavi__source *s, struct tavi_manager *m, const struct tavi__source_ops *ops, int fd);

/* Mark as closing. Any number of times, from anywhere. */
void tavi__source_close(struct tavi__source *s);

/* Look at this source at the end of the turn (of the next one, outside of a turn); what the others below do first. */
void tavi__source_queue(struct tavi__source *s);

/* Ask for on_flush at the end of this turn (of the next one, outside of a turn). */
void tavi__source_flush(struct tavi__source *s);

/* Ask for on_ready(0) in the next turn, because work is left that no descriptor will tell of. */
void tavi__source_again(struct tavi__source *s);

/* Say what to wait for (TAVI__IN | TAVI__OUT); takes effect at the end of the turn. */
void tavi__source_want(struct tavi__source *s, unsigned events);

void tavi__source_deadline_earlier(struct tavi__source *s, uint64_t at_ms); /* the rest of the following */

/* Call on_deadline at that time, in ms of tavi_millis(), or a little earlier when one was set before (cheap: a later
 * deadline than the one in the wheel is not moved there). 0: leave what is set; on_deadline sorts it out. */
static inline void tavi__source_deadline(struct tavi__source *s, uint64_t at_ms) {
  if (at_ms != 0 && (!tavi__wheel_has(&s->deadline) || s->deadline.at_ms > at_ms))
    tavi__source_deadline_earlier(s, at_ms);
}

#endif
