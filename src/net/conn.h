/* SPDX-License-Identifier: MIT
 *
 * The connection as the library sees it: a source with a protocol, a send queue and perhaps received bytes.
 *
 * Who does what: conn.c the life of a connection and the public calls; stream.c bytes from and to stream sockets; udp.c
 * datagrams; connect.c the way to a peer; listener.c accepting. A protocol is a table (struct tavi__proto) that a
 * connection points to; an upgrade changes the pointer. */
#ifndef TAVI_NET_CONN_H
#define TAVI_NET_CONN_H

#include "base/hint.h"
#include "loop/manager.h"
#include "net/recvbuf.h"
#include "net/sendq.h"
#include "os/sock.h"

/* ==== protocols ==== */

/* What a protocol does with a connection. All entries may be NULL. */
struct tavi__proto {
  bool is_http;
  void (*on_start)(struct tavi_conn *c);   /* accepted or established */
  void (*on_input)(struct tavi_conn *c);   /* bytes are in tavi__conn_input(); consume what can be used */
  bool (*on_eof)(struct tavi_conn *c);     /* the peer has closed its side; true: handled, false: drain and close */
  void (*on_reset)(struct tavi_conn *c);   /* the peer has reset the connection; NULL: close */
  /* A write has found the peer gone. true: what it has sent before that is still wanted, nothing more will be queued,
   * and the end is seen by reading. NULL: as on_reset. */
  bool (*on_cut)(struct tavi_conn *c);
  bool (*on_timeout)(struct tavi_conn *c); /* the read deadline passed; true: handled, false: fail */
  /* Raw bytes of the user are about to be queued (data NULL: len bytes of a file). 0: queue them; 1: drop them, they
   * have no place on the wire; negative: the error that forbids it. */
  int (*on_output)(struct tavi_conn *c, const char *data, uint64_t len);
  void (*on_drained)(struct tavi_conn *c); /* the send queue has fallen below low water */
  struct tavi_slice (*peek)(const struct tavi_conn *c); /* what of the input the user may see; NULL: all */
  void (*consume)(struct tavi_conn *c, size_t n);       /* by the user; NULL: drop it from the input */
  void (*on_closing)(struct tavi_conn *c); /* the last moment to tell the user anything: on_close comes next */
  void (*on_end)(struct tavi_conn *c);     /* free what the protocol holds for this connection */
};

/* Raw bytes: everything stays where it is until the user consumes it. */
extern const struct tavi__proto tavi__proto_raw;

struct tavi__dial;
struct tavi__trust;
struct tavi__file;

/* ==== configuration ==== */

/* What connections of one origin share; counted references. A protocol's own options follow (http/conf.h). */
struct tavi__conf {
  size_t refs;
  const struct tavi__proto *proto;
  struct tavi_conn_opts opts;
  uint64_t listener_id;
  struct tavi__dial *dial; /* outgoing and not yet established: where to; see connect.c */
  struct tavi__trust *proxies; /* accepted: from whom a PROXY header is demanded; NULL: nobody */
  void (*on_free)(struct tavi__conf *conf); /* frees what the protocol's own options hold; may be NULL */
};

/* A copy of the options in `size` bytes (at least sizeof(struct tavi__conf)), the rest zeroed. One reference. */
struct tavi__conf *tavi__conf_new(size_t size, const struct tavi__proto *proto, const struct tavi_conn_opts *opts);
void tavi__conf_unref(struct tavi__conf *conf);

/* ==== connections ==== */

enum { TAVI__PROTO_BYTES = 40 };

struct tavi_conn {
  struct tavi__source src; /* first: the pointer is the same */
  const struct tavi_conn_handlers *handlers;
  void *user;
  struct tavi__conf *conf;
  const struct tavi__proto *proto;
  struct tavi__recvbuf *in;      /* received and not consumed, unless it lies in the loop's buffer */
  struct tavi__sendq out;
  uint64_t read_deadline_ms;     /* set by the protocol or by the idle time-out; 0: none */
  uint64_t write_deadline_ms;    /* while the peer takes nothing; 0: none */
  struct tavi__peer peer;
  uint32_t ready_turn;           /* the turn in which ready_events were told */
  uint8_t ready_events;
  bool is_client : 1;
  bool is_udp : 1;
  bool is_v6 : 1;                /* UDP: the socket's family */
  bool is_resolving : 1;
  bool is_connecting : 1;
  bool is_draining : 1;
  bool is_lingering : 1;         /* our side is closed; the peer's rest is read and dropped */
  bool wants_linger : 1;         /* after draining */
  bool is_paused : 1;            /* by the user */
  bool is_held : 1;              /* by the protocol: enough input is waiting */
  bool is_full : 1;              /* above high water */
  bool is_blocked : 1;           /* the socket takes no more for now */
  bool is_fetching : 1;          /* of what is next to be sent, another thread reads the bytes from a disk ... */
  bool is_fetched : 1;           /* ... or has read them */
  bool is_rx_full : 1;           /* recv_bytes_max reached by a user who consumes */
  bool is_hung : 1;              /* the peer is gone, but the user who paused may still want what it sent */
  bool has_consumed : 1;
  bool at_eof : 1;
  union {
    uint64_t align;
    uint32_t lingered;           /* bytes dropped while lingering; the protocol is over by then */
    char bytes[TAVI__PROTO_BYTES];
  } state;                       /* the protocol's */
};

static inline struct tavi_conn *tavi__conn_of(struct tavi__source *s) {
  return TAVI__CONTAINER(s, struct tavi_conn, src);
}

/* Allocate and open as a source; the protocol and the options are conf's (a reference is taken). fd -1: none yet. */
int tavi__conn_new(struct tavi_manager *m, struct tavi__conf *conf, const struct tavi__source_ops *ops, int fd,
                   const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn);

/* on_error once, unless it is closing; then close. text: borrowed. */
void tavi__conn_fail(struct tavi_conn *c, int err, const char *text) TAVI__COLD;

/* ... with a text made of "what: reason". */
void tavi__conn_fail_with(struct tavi_conn *c, int err, const char *what) TAVI__COLD;

/* Close when the queue is empty; `linger` also reads and drops for a while what the peer still sends. */
void tavi__conn_drain(struct tavi_conn *c, bool linger);

/* Recompute what to wait for, from the flags. */
void tavi__conn_watch(struct tavi_conn *c);

/* at_ms 0: no deadline. */
static inline void tavi__conn_read_deadline(struct tavi_conn *c, uint64_t at_ms) {
  c->read_deadline_ms = at_ms;
  tavi__source_deadline(&c->src, at_ms);
}

static inline void tavi__conn_write_deadline(struct tavi_conn *c, uint64_t at_ms) {
  c->write_deadline_ms = at_ms;
  tavi__source_deadline(&c->src, at_ms);
}

/* Tell that it was accepted, and begin. The peer is known. */
void tavi__conn_accepted(struct tavi_conn *c);

/* ==== received bytes ==== */

/* What there is, writable in place. */
struct tavi__input {
  char *ptr;
  size_t len;
};
static inline struct tavi__input tavi__conn_input(const struct tavi_conn *c) {
  const struct tavi_manager *m = c->src.manager;
  if (m->rx_owner == &c->src) return (struct tavi__input){m->rx_ptr, m->rx_len};
  if (c->in != NULL) return (struct tavi__input){c->in->bytes + c->in->start, c->in->len};
  return (struct tavi__input){NULL, 0};
}

/* Drop n bytes from the front, or `n` bytes at `at`. */
static inline void tavi__conn_input_drop(struct tavi_conn *c, size_t n) {
  struct tavi_manager *m = c->src.manager;
  if (m->rx_owner == &c->src) {
    m->rx_ptr += n;
    m->rx_len -= n;
  } else if (n > 0) {
    tavi__recvbuf_consume(&c->in, m, n);
  }
}
void tavi__conn_input_cut(struct tavi_conn *c, size_t at, size_t n);

/* ==== queued bytes (the protocol's own output: not followed) ==== */

int tavi__conn_may_queue_more(struct tavi_conn *c, uint64_t len); /* the rest of the following */

/* May `len` bytes be queued? 0, or the error; TAVI_E_LIMIT has failed the connection already. */
static inline int tavi__conn_may_queue(struct tavi_conn *c, uint64_t len) {
  if (c->src.is_closing || c->is_draining) return TAVI_E_CLOSED;
  return c->out.bytes == 0 ? 0 : tavi__conn_may_queue_more(c, len);
}

void tavi__conn_is_full(struct tavi_conn *c) TAVI__COLD;

/* After something was queued: flush at the end of the turn, and look at high water. */
static inline void tavi__conn_queued(struct tavi_conn *c) {
  tavi__source_flush(&c->src);
  if (c->out.bytes > c->conf->opts.send_high_water) tavi__conn_is_full(c);
}

/* Both around one copied piece. */
int tavi__conn_queue(struct tavi_conn *c, const void *data, size_t len);

/* Memory that is taken, behind something of the same message: not held against send_bytes_max. */
int tavi__conn_queue_foreign(struct tavi_conn *c, const void *data, size_t len, void (*release)(void *), void *arg);

/* A range of a file, as tavi_conn_send_file(), but the file is borrowed: the queue takes a reference of its own. */
int tavi__conn_send_file(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, uint64_t len);

/* ==== the parts ==== */

extern const struct tavi__source_ops tavi__stream_ops;
extern const struct tavi__source_ops tavi__stream_untold_ops; /* the same for a connection that is not the user's */
extern const struct tavi__source_ops tavi__udp_ops;

/* stream.c */
void tavi__stream_start(struct tavi_conn *c);              /* accepted or established: read at once */
int tavi__udp_send(struct tavi_conn *c, const void *data, size_t len);

/* connect.c; more in connect.h */
void tavi__dial_free(struct tavi__dial *dial);

/* The shared parts of the source tables. */
void tavi__conn_on_wakeup(struct tavi__source *s, struct tavi_slice data);
void tavi__conn_on_failed(struct tavi__source *s, int err);
void tavi__conn_on_closed(struct tavi__source *s);
void tavi__conn_on_deadline(struct tavi__source *s);
void tavi__conn_destroy(struct tavi__source *s);

/* Open by protocol; what the public functions of net/ and http/ come down to. conf: taken. */
int tavi__listen(struct tavi_manager *m, const char *url, const char *default_port, struct tavi__conf *conf,
                 const struct tavi_listen_opts *opts, const struct tavi_conn_handlers *handlers, void *user,
                 struct tavi_listener **ret_listener);
int tavi__connect(struct tavi_manager *m, const char *url, const char *default_port, struct tavi__conf *conf,
                  const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn);

#endif
