/* SPDX-License-Identifier: MIT
 *
 * The manager: one event loop on one thread, and the owner of everything that is made with it.
 *
 * One turn (tavi_manager_poll) is: wait; serve each ready connection; deliver wakeups; run due timers; flush what the
 * handlers have queued; register what is new and free what is closed. The work of a turn is proportional to what is
 * ready: idle connections and waiting timers cost nothing.
 *
 * Managers share nothing: several may run in several threads of a process.
 *
 * fork(2): a child has copies of the parent's managers, whose kernel objects both share. It may free them, which leaves
 * what belongs to both alone, and make managers of its own; it must not poll them.
 */
#ifndef TAVI_MANAGER_H
#define TAVI_MANAGER_H

#include "tavi/base.h"
#include "tavi/log.h"

TAVI_BEGIN_DECLS

struct tavi_manager;
struct tavi_conn;
struct tavi_listener;

/* The id that belongs to the manager itself: a wakeup to it only ends the wait of tavi_manager_poll(). */
#define TAVI_ID_MANAGER UINT64_C(1)

/* How the loop waits. */
enum tavi_backend {
  TAVI_BACKEND_AUTO = 0, /* the best one that this system has */
  TAVI_BACKEND_EPOLL = 1,
  TAVI_BACKEND_POLL = 2  /* poll(2): portable; has no descriptor of its own */
};

/* Fill with tavi_manager_opts_init(), change what you want, pass to tavi_manager_new(); copied there. */
struct tavi_manager_opts {
  enum tavi_backend backend;   /* default: TAVI_BACKEND_AUTO */
  size_t wakeup_bytes_max;     /* payloads accepted by wakeup and not yet delivered; default 64 MiB */
  size_t buffered_bytes_max;   /* bytes held for all connections together, both directions; beyond it the connection
                                * that asks for more fails with TAVI_E_LIMIT; default 1 GiB */
  /* Called right before and right after a wait that may block, on the loop's thread: a host that has one lock for
   * everything (Python's GIL) gives it back and takes it again here. Other threads may then call any function of the
   * library while they hold that lock, and such a call ends the wait where that is needed. Both or none. */
  void (*before_wait)(void *hook_user);
  void (*after_wait)(void *hook_user);
  void *hook_user;
  const char *dns_servers;     /* whom to ask for names: "10.0.0.1, [::1]:5353", up to 8; default NULL: the system's
                                * configuration says it. Copied */
  uint32_t dns_timeout_ms;     /* how long a name may take, with all retries and the search list; default 5,000 */
  tavi_log_fn log;             /* default: NULL, nothing is logged */
  void *log_user;
  enum tavi_log_level log_level; /* lines above this level are not even made; default TAVI_LOG_INFO */
};

TAVI_API void tavi_manager_opts_init(struct tavi_manager_opts *opts);

/* Make a manager. opts: borrowed for the call; NULL means defaults.
 *
 * Owns:    the caller, until tavi_manager_free().
 * Returns: 0, TAVI_E_NOMEM, TAVI_E_DESCRIPTORS, TAVI_E_ARG (one wait hook without the other, dns_servers that are no
 *          addresses, a dns_timeout_ms of 0) or TAVI_E_UNSUPPORTED (a back end that this system does not have). */
TAVI_API int tavi_manager_new(const struct tavi_manager_opts *opts, struct tavi_manager **ret_manager);

/* Close everything, deliver every close callback, and free the manager, its connections, listeners and timers.
 * Unsent bytes are dropped. NULL is accepted. Must not be called from a callback of the same manager. */
TAVI_API void tavi_manager_free(struct tavi_manager *m);

/* Close every connection and listener, newest first, and cancel every timer, delivering the close callbacks before it
 * returns; the manager itself lives on and may be used again.
 *
 * Returns: 0, or TAVI_E_BUSY from a callback of the same manager. */
TAVI_API int tavi_manager_close_all(struct tavi_manager *m);

/* One turn of the loop.
 *
 * Units:   timeout_ms is how long to wait at most when nothing is ready: 0 does not wait, negative has no limit. A due
 *          timer, a wakeup, a signal, or work left over from the last turn end the wait earlier.
 * Returns: the number of callbacks that I/O, wakeups and timers caused, at least (0: nothing happened, the time is
 *          over or a signal came); TAVI_E_BUSY when called from inside a turn; TAVI_E_SYSTEM when the wait failed.
 * Calls back: all handlers. */
TAVI_API int tavi_manager_poll(struct tavi_manager *m, int timeout_ms);

/* From a callback: end this turn as soon as the callback returns. What was ready and not yet served is served by the
 * next turn; nothing is lost. For a host that has to leave the loop, such as after Ctrl-C. */
TAVI_API void tavi_manager_break(struct tavi_manager *m);

/* A descriptor that is readable whenever a turn is due: I/O, timers, wakeups, and what was sent or closed between two
 * turns. Watch it in another loop and call tavi_manager_poll(m, 0) when it is readable.
 *
 * Owns:    borrowed, valid until tavi_manager_free(); do not read, write or close it.
 * Returns: 0, TAVI_E_UNSUPPORTED with the poll(2) back end, TAVI_E_DESCRIPTORS. */
TAVI_API int tavi_manager_fd(struct tavi_manager *m, int *ret_fd);

/* Hand bytes to a connection or listener of this manager: its on_wakeup gets them in a later part of this turn or in
 * the next one. Payloads from one thread arrive in the order in which they were given.
 *
 * Threads: any, at any time between tavi_manager_new() and tavi_manager_free().
 * Owns:    data is copied; it may be NULL when len is 0.
 * Returns: 0 when accepted: it is delivered unless the target closes first; TAVI_E_NOT_FOUND when there is no such id;
 *          TAVI_E_LIMIT when wakeup_bytes_max is reached (a single payload larger than the maximum is accepted when
 *          nothing else waits); TAVI_E_NOMEM. */
TAVI_API int tavi_manager_wakeup(struct tavi_manager *m, uint64_t id, const void *data, size_t len);

/* The connection with that id; NULL when there is none, it has closed, or the id is a listener's. O(1). */
TAVI_API struct tavi_conn *tavi_manager_conn(struct tavi_manager *m, uint64_t id);

/* The listener with that id, or NULL. O(1). */
TAVI_API struct tavi_listener *tavi_manager_listener(struct tavi_manager *m, uint64_t id);

/* The ids of all open connections and listeners, in the order in which they were made.
 *
 * Fills at most cap of them. Returns: how many there are in all, so that a first call with cap 0 tells the size. */
TAVI_API size_t tavi_manager_ids(struct tavi_manager *m, uint64_t *ids, size_t cap);

/* Milliseconds of the monotonic clock. */
TAVI_API uint64_t tavi_millis(void);

/* The back end in use: TAVI_BACKEND_EPOLL or TAVI_BACKEND_POLL. */
TAVI_API enum tavi_backend tavi_manager_backend(const struct tavi_manager *m);

/* Change opts.log_level. */
TAVI_API void tavi_manager_set_log_level(struct tavi_manager *m, enum tavi_log_level level);

/* Bytes held for all connections together at this moment (see buffered_bytes_max). */
TAVI_API size_t tavi_manager_buffered(const struct tavi_manager *m);

TAVI_END_DECLS

#endif
