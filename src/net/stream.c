/* SPDX-License-Identifier: MIT
 *
 * Bytes from and to stream sockets: one read per connection and turn into the loop's buffer, the protocol and then the
 * user look at it there, and only what neither has consumed is copied to the connection; one gathered write per
 * connection at the end of the turn. */
#include "net/conn.h"
#include "net/connect.h"
#include "net/file.h"

static inline void touch(struct tavi_conn *c) {
  uint32_t idle_ms = c->conf->opts.idle_timeout_ms;
  if (idle_ms != 0 && c->proto->on_timeout == NULL) tavi__conn_read_deadline(c, c->src.manager->now_ms + idle_ms);
}

/* ==== reading ==== */

/* The loop's buffer is needed for the next one: keep what was not consumed. */
static void keep_rest(struct tavi_conn *c, size_t len) {
  struct tavi_manager *m = c->src.manager;
  if (c->src.is_closing || c->is_lingering) return;
  int err = tavi__recvbuf_append(&c->in, m, m->rx_ptr, len);
  if (err < 0) tavi__conn_fail_with(c, err, "cannot keep what was received");
}

/* Raw bytes that nobody consumes must not grow without end. (Protocols bound their input themselves.) */
static void bound_raw(struct tavi_conn *c) {
  if (c->proto->on_input != NULL || c->in->len < c->conf->opts.recv_bytes_max || c->src.is_closing) return;

  if (!c->has_consumed) {
    tavi__conn_fail(c, TAVI_E_LIMIT, "receive buffer is full: recv_bytes_max is reached and nothing consumes");
    return;
  }
  c->is_rx_full = true;
  tavi__conn_watch(c);
}

/* The peer is gone, which is how connections end; only some protocols have more to say. */
static TAVI__COLD void on_reset(struct tavi_conn *c) {
  if (c->proto->on_reset != NULL && !c->is_lingering) c->proto->on_reset(c);
  tavi__source_close(&c->src);
}

static void on_end_of_input(struct tavi_conn *c) {
  c->at_eof = true;
  tavi__conn_watch(c);
  if (c->is_lingering)
    tavi__source_close(&c->src);
  else if (c->proto->on_eof == NULL || !c->proto->on_eof(c))
    tavi__conn_drain(c, false);
}

static void drop_input(struct tavi_conn *c, size_t n) {
  c->state.lingered += (uint32_t) n;
  if (c->state.lingered > TAVI__LINGER_BYTES) tavi__source_close(&c->src);
}

/* recv() gave no bytes, or bytes that nobody wants any more. */
static TAVI__APART void take_no_input(struct tavi_conn *c, ssize_t n) {
  if (n == TAVI__AGAIN) return;
  if (n < 0)
    on_reset(c);
  else if (n == 0)
    on_end_of_input(c);
  else
    drop_input(c, (size_t) n);
}

TAVI__HOT void tell_input(struct tavi_conn *c) {
  touch(c);
  if (c->proto->on_input != NULL) c->proto->on_input(c);
  if (!c->src.is_closing && c->handlers->on_read != NULL) c->handlers->on_read(c, c->user);
}

/* Behind what is there, in steps that grow with it. */
static TAVI__APART void read_behind(struct tavi_conn *c) {
  size_t step = c->in->len < TAVI__RX_BYTES ? c->in->len : TAVI__RX_BYTES;
  int err = tavi__recvbuf_reserve(&c->in, c->src.manager, step > TAVI__RECV_STEP ? step : TAVI__RECV_STEP);
  if (err < 0) {
    tavi__conn_fail_with(c, err, "cannot receive more");
    return;
  }
  char *to = c->in->bytes + c->in->start + c->in->len;
  size_t cap = c->in->cap - c->in->start - c->in->len;
  ssize_t n = tavi__sock_recv(c->src.io.fd, to, cap < TAVI__RX_BYTES ? cap : TAVI__RX_BYTES);
  if (n <= 0 || c->is_lingering) {
    take_no_input(c, n);
    return;
  }
  c->in->len += (size_t) n;
  tell_input(c);
  if (c->in != NULL) bound_raw(c);
}

static void read_some(struct tavi_conn *c) {
  struct tavi_manager *m = c->src.manager;
  if (c->in != NULL) {
    read_behind(c);
    return;
  }
  ssize_t n = tavi__sock_recv(c->src.io.fd, m->rx, TAVI__RX_BYTES);
  if (n <= 0 || c->is_lingering) {
    take_no_input(c, n);
    return;
  }
  m->rx_owner = &c->src;
  m->rx_ptr = m->rx;
  m->rx_len = (size_t) n;
  tell_input(c);
  if (m->rx_owner == &c->src) {
    m->rx_owner = NULL;
    if (m->rx_len > 0) keep_rest(c, m->rx_len);
  }
  if (c->in != NULL) bound_raw(c);
}

/* ==== writing ==== */

/* A range of a file is next. */
static ssize_t write_file(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, size_t *len) {
  *len = tavi__file_near(c, file, offset, *len);
  if (*len == 0) return 0;
  ssize_t n = tavi__sock_send_file(c->src.io.fd, file->fd, offset, *len);
  return n == 0 ? TAVI_E_NOT_FOUND : n; /* the file is shorter than what was promised */
}

/* One system call. Returns the bytes that went, TAVI__AGAIN, or an error; *ret_asked is what it could have been. */
static ssize_t write_pieces(struct tavi_conn *c, size_t *ret_asked) {
  struct iovec iov[TAVI__IOV_MAX];
  struct tavi__file *file = NULL;
  int fd = c->src.io.fd;
  uint64_t offset = 0;
  bool more = false;
  int count = tavi__sendq_next(&c->out, iov, TAVI__IOV_MAX, &file, &offset, ret_asked, &more);
  if (c->is_draining) more = true; /* our closing follows at once: let it travel in the same packet */
  if (count == 1) return tavi__sock_send(fd, iov[0].iov_base, *ret_asked, more);
  if (count > 1) return tavi__sock_sendv(fd, iov, count, more);
  return write_file(c, file, offset, ret_asked);
}

/* The same, for a queue that holds a reply or two and nothing else. */
static inline ssize_t write_once(struct tavi_conn *c, size_t *ret_asked) {
  const char *only = tavi__sendq_only(&c->out, ret_asked);
  return only != NULL ? tavi__sock_send(c->src.io.fd, only, *ret_asked, c->is_draining) : write_pieces(c, ret_asked);
}

/* The socket did not take everything, or gave an error in place of a number of bytes. */
static TAVI__COLD void write_failed(struct tavi_conn *c, int err) {
  bool is_cut = err == TAVI_E_RESET && !c->is_draining && c->proto->on_cut != NULL && c->proto->on_cut(c);
  if (is_cut) {
    tavi__sendq_clear(&c->out, c->src.manager);
    c->write_deadline_ms = 0;
  } else if (err == TAVI__AGAIN) {
    c->is_blocked = true;
  } else if (err == TAVI_E_RESET) {
    on_reset(c);
  } else {
    tavi__conn_fail_with(c, err, "cannot send");
  }
}

/* One write, and what follows from it for the queue. Returns the bytes that went. */
TAVI__HOT size_t write_some(struct tavi_conn *c) {
  size_t asked;
  ssize_t n = write_once(c, &asked);
  if (n < 0) {
    write_failed(c, (int) n);
    return 0;
  }
  tavi__sendq_sent(&c->out, c->src.manager, (size_t) n);
  if ((size_t) n < asked) c->is_blocked = true; /* the socket is full: spare the call that would only say so */
  return (size_t) n;
}

/* What one write was not enough for. */
static TAVI__APART size_t write_more(struct tavi_conn *c) {
  size_t sent = 0;
  for (int i = 1; i < TAVI__WRITES_PER_TURN && c->out.last != NULL; i++) {
    if (c->is_blocked || c->is_fetching || c->src.is_closing) break;
    sent += write_some(c);
  }
  return sent;
}

/* The time for the peer to take something begins, unless it is running. */
static TAVI__APART void await_room(struct tavi_conn *c) {
  uint32_t limit_ms = c->conf->opts.write_timeout_ms;
  if (limit_ms != 0 && c->write_deadline_ms == 0)
    tavi__conn_write_deadline(c, c->src.manager->now_ms + limit_ms);
}

static TAVI__APART void tell_low_water(struct tavi_conn *c) {
  if (c->proto->on_drained != NULL) c->proto->on_drained(c);
  if (!c->src.is_closing && c->handlers->on_low_water != NULL) c->handlers->on_low_water(c, c->user);
}

/* Everything is sent and nothing may follow. */
static void end_draining(struct tavi_conn *c) {
  if (c->is_lingering) return;
  bool has_more = c->proto->is_http && c->in != NULL; /* requests that will not be answered */
  if ((!c->wants_linger && !has_more) || c->at_eof) {
    tavi__source_close(&c->src);
    return;
  }
  /* The peer may still be sending. Closing now would reset the connection, and that may overtake our last bytes. */
  if (c->proto->on_end != NULL) c->proto->on_end(c);
  c->proto = &tavi__proto_raw;
  c->state.lingered = 0;
  c->is_lingering = true;
  tavi__recvbuf_free(&c->in, c->src.manager);
  tavi__sock_shutdown(c->src.io.fd);
  tavi__conn_read_deadline(c, tavi__manager_now(c->src.manager) + TAVI__LINGER_MS);
}

static bool on_flush(struct tavi__source *s) {
  struct tavi_conn *c = tavi__conn_of(s);
  if (s->io.fd < 0 || c->is_connecting) return false;

  size_t sent = 0;
  if (c->out.last != NULL && !c->is_blocked && !c->is_fetching) {
    sent = write_some(c);
    if (c->out.last != NULL) sent += write_more(c);
    if (s->is_closing) return false;
  }
  bool is_relieved = c->is_full && c->out.bytes <= c->conf->opts.send_low_water;
  if (is_relieved) c->is_full = false; /* before on_write, which for some is the only word of it */
  if (sent > 0) {
    touch(c);
    c->write_deadline_ms = 0; /* progress */
    if (c->handlers->on_write != NULL) c->handlers->on_write(c, sent, c->user);
  }
  if (c->is_blocked && !s->is_closing) await_room(c);
  if (is_relieved && !s->is_closing) tell_low_water(c);
  if (s->is_closing) return false;
  if (c->out.last == NULL) {
    if (c->is_draining) end_draining(c);
    if (s->io.want != TAVI__IN) tavi__conn_watch(c);
    return false;
  }
  tavi__conn_watch(c);
  return !c->is_blocked && !c->is_fetching;
}

/* ==== the source ==== */

/* The peer is gone in both directions. Somebody who paused may still want what it has sent. */
static TAVI__APART void on_hang_up(struct tavi_conn *c) {
  if (!c->is_paused && !c->is_rx_full) {
    on_reset(c);
    return;
  }
  c->is_hung = true;
  tavi__conn_watch(c);
}

/* Input that was held back: by a protocol with more to do, or for the user of one that has just become raw. */
static TAVI__APART void take_held(struct tavi_conn *c) {
  if (c->proto->on_input != NULL) {
    c->proto->on_input(c);
  } else if (c->is_held && !c->is_paused) {
    c->is_held = false;
    tavi__conn_watch(c);
  } else {
    return;
  }
  if (c->src.is_closing || c->is_paused || c->handlers->on_read == NULL) return;
  if (tavi_conn_peek(c).len > 0) c->handlers->on_read(c, c->user);
}

static void on_ready(struct tavi__source *s, unsigned events) {
  struct tavi_conn *c = tavi__conn_of(s);
  c->ready_turn = s->manager->turn;
  c->ready_events = (uint8_t) events;
  if (c->is_connecting) {
    tavi__connect_ready(c, events);
    return;
  }

  if (events == 0) {
    take_held(c);
    return;
  }
  if (events & TAVI__OUT && c->is_blocked) {
    c->is_blocked = false;
    tavi__source_flush(s);
  }
  if (s->io.want & TAVI__IN && events & (TAVI__IN | TAVI__HUP))
    read_some(c);
  else if (events & TAVI__HUP)
    on_hang_up(c);
}

void tavi__stream_start(struct tavi_conn *c) {
  touch(c);
  tavi__conn_watch(c);
  if (c->proto->on_start != NULL) c->proto->on_start(c);
  if (!c->src.is_closing && c->src.io.want & TAVI__IN) read_some(c);
}

#define STREAM_OPS(of_kind)                \
  {                                        \
    .kind = of_kind,                       \
    .on_ready = on_ready,                  \
    .on_flush = on_flush,                  \
    .on_deadline = tavi__conn_on_deadline, \
    .on_wakeup = tavi__conn_on_wakeup,     \
    .on_failed = tavi__conn_on_failed,     \
    .on_closed = tavi__conn_on_closed,     \
    .destroy = tavi__conn_destroy,         \
  }

const struct tavi__source_ops tavi__stream_ops = STREAM_OPS(TAVI__KIND_CONN);
const struct tavi__source_ops tavi__stream_untold_ops = STREAM_OPS(TAVI__KIND_UNTOLD);
