/* SPDX-License-Identifier: MIT
 *
 * The manager's state: what the loop needs for its turns, and the memory that all its connections share. */
#ifndef TAVI_LOOP_MANAGER_H
#define TAVI_LOOP_MANAGER_H

#include "base/idmap.h"
#include "base/limits.h"
#include "loop/mailbox.h"
#include "loop/source.h"
#include "tavi/manager.h"

/* A free block of a send queue. */
struct tavi__block {
  struct tavi__block *next;
};

/* Installed by the resolver; see net/resolve.h. */
struct tavi__resolver;

/* See timers.c. */
struct tavi__timer_slab;

/* See work.c. */
struct tavi__work;

/* What a layer above keeps per manager: a struct of its own with this one in it, found by the address of something that
 * only that layer has. end() is called when the manager ends, after everything that was opened has closed. */
struct tavi__part {
  struct tavi__part *next;
  const void *key;
  void (*end)(struct tavi__part *part, struct tavi_manager *m); /* frees the struct */
};

struct tavi_manager {
  struct tavi_manager_opts opts;

  /* ==== the turn ==== */
  const struct tavi__poller_ops *poller_ops;
  struct tavi__poller *poller;
  uint64_t now_ms;              /* of this turn, read once after the wait */
  uint32_t turn;                /* its number */
  bool is_in_turn;
  bool is_waiting;              /* between the wait hooks: other threads may be at work under the host's lock */
  bool is_broken;               /* tavi_manager_break() */
  bool wants_flush;             /* a source in `work` does */
  bool is_closing_all;          /* nothing new may be opened */
  int process_id;               /* that has made it */
  bool is_forked;               /* we are a child of that one: only our copies end, not what both share */
  int callbacks;                /* what tavi_manager_poll() returns */
  struct tavi__source *work, **work_end; /* sources with is_queued, in order */
  struct tavi__wheel timers;    /* struct tavi_timer */
  struct tavi__wheel deadlines; /* struct tavi__source */
  struct tavi__node *spare_timers;
  struct tavi__timer_slab *timer_slabs;
  size_t closing_count;         /* sources that are marked and not yet finished */

  /* ==== waking ==== */
  bool has_mail;                /* the descriptor was raised: look into the mailbox */
  struct tavi__mailbox mail;    /* its lock guards `ids` too, since wakeup() looks ids up from any thread */
  struct tavi__idmap ids;
  uint64_t last_id;
  struct tavi__pollable wake;   /* raised by the mailbox and by tavi__manager_kick() */
  struct tavi__pollable alarm;  /* only when the manager's descriptor is in use; fd -1 otherwise */
  uint64_t alarm_ms;            /* what it is set to; 0: off */

  /* ==== memory ==== */
  char *rx;                     /* TAVI__RX_BYTES: where all sockets are read to */
  struct tavi__source *rx_owner;/* whose unconsumed bytes are rx_ptr[0..rx_len) right now; NULL: nobody's */
  char *rx_ptr;
  size_t rx_len;
  struct tavi__block *blocks;   /* free ones */
  size_t block_count;
  size_t buffered;              /* bytes held for connections, see buffered_bytes_max */

  /* ==== descriptors ==== */
  int reserve_fd;               /* given up for a moment to shed connections when there are no others; -1: gone */
  bool is_shedding;             /* so that it is logged once */

  char *dns_servers;            /* owned: opts.dns_servers */
  const struct tavi__resolver *resolver;
  struct tavi__work *pool;      /* threads for what may block, once there is such work */
  struct tavi__part *parts;

  struct tavi__ready ready[TAVI__READY_MAX];
};

/* tavi_manager_new() without what layers above install; see api/manager.c. */
int tavi__manager_new(const struct tavi_manager_opts *opts, struct tavi_manager **ret_manager);

/* The time of this turn; between turns, and inside waits, the clock's. */
uint64_t tavi__manager_now(struct tavi_manager *m);

/* Milliseconds since 1970-01-01 UTC, for layers that do not see the clocks themselves. */
int64_t tavi__manager_unix_ms(void);

/* True when somebody sleeps on the state of the loop: a thread in the wait, or a foreign loop between turns. */
static inline bool tavi__manager_is_watched(const struct tavi_manager *m) {
  return m->is_waiting || (!m->is_in_turn && m->alarm.fd >= 0);
}

/* Something has changed, and the loop is watched: end the wait, or make the manager's descriptor readable. */
void tavi__manager_kick(struct tavi_manager *m);

/* As tavi_manager_ids(); with those, if asked for, that no user knows of yet (TAVI__KIND_UNTOLD). */
size_t tavi__manager_ids(struct tavi_manager *m, bool untold_too, uint64_t *ids, size_t cap);

/* Count memory that a connection holds. False when the manager's maximum is reached. */
bool tavi__manager_take(struct tavi_manager *m, size_t bytes);
void tavi__manager_give(struct tavi_manager *m, size_t bytes);

/* Take and give back a block of TAVI__BLOCK_BYTES; NULL when memory ran out. Counted as above. */
void *tavi__manager_block(struct tavi_manager *m);
void tavi__manager_block_free(struct tavi_manager *m, void *block);

/* Parts: by their key (NULL: not there), and new ones. */
struct tavi__part *tavi__manager_part(const struct tavi_manager *m, const void *key);
void tavi__manager_add_part(struct tavi_manager *m, struct tavi__part *part);

/* Cancel all timers. */
void tavi__timers_cancel_all(struct tavi_manager *m);
void tavi__timers_free(struct tavi_manager *m);

/* Close everything and deliver the close callbacks; see tavi_manager_close_all(). */
int tavi__manager_finish_all(struct tavi_manager *m);

/* Phases of the turn that live in files of their own. */
void tavi__timers_serve(struct tavi_manager *m);
void tavi__work_serve(struct tavi_manager *m);

/* Of m->pool: its making (NULL: no memory), the wait for all jobs at the end of the manager, its freeing. */
struct tavi__work *tavi__work_new(struct tavi_manager *m);
void tavi__work_finish(struct tavi_manager *m);
void tavi__work_free(struct tavi__work *w);

#endif
