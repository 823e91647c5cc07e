/* SPDX-License-Identifier: MIT
 *
 * The life of a connection, whatever lies below (stream or datagrams) and above (raw or a protocol), and the public
 * calls of tavi/conn.h that are about one. Everything here notes and queues; the loop's phases act. */
#include "net/conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/log.h"
#include "net/connect.h"
#include "net/file.h"
#include "net/trust.h"

_Static_assert(offsetof(struct tavi_conn, src) == 0, "tavi_manager_conn() relies on it");
_Static_assert(sizeof(struct tavi_conn) <= 216, "what an idle connection costs; see docs/performance.md");

const struct tavi__proto tavi__proto_raw = {0};

/* ==== options ==== */

void tavi_conn_opts_init(struct tavi_conn_opts *opts) {
  *opts = (struct tavi_conn_opts){
      .connect_timeout_ms = 30000,
      .write_timeout_ms = 60000,
      .recv_bytes_max = (size_t) 3 << 20,
      .send_bytes_max = (size_t) 64 << 20,
      .send_high_water = (size_t) 1 << 20,
      .send_low_water = (size_t) 256 << 10,
  };
}

struct tavi__conf *tavi__conf_new(size_t size, const struct tavi__proto *proto, const struct tavi_conn_opts *opts) {
  struct tavi__conf *conf = calloc(1, size);
  if (conf == NULL) return NULL;

  conf->refs = 1;
  conf->proto = proto;
  if (opts != NULL)
    conf->opts = *opts;
  else
    tavi_conn_opts_init(&conf->opts);
  return conf;
}

void tavi__conf_unref(struct tavi__conf *conf) {
  if (conf == NULL || --conf->refs > 0) return;

  if (conf->on_free != NULL) conf->on_free(conf);
  tavi__dial_free(conf->dial);
  tavi__trust_free(conf->proxies);
  free(conf);
}

/* ==== life ==== */

int tavi__conn_new(struct tavi_manager *m, struct tavi__conf *conf, const struct tavi__source_ops *ops, int fd,
                   const struct tavi_conn_handlers *handlers, void *user, struct tavi_conn **ret_conn) {
  struct tavi_conn *c = calloc(1, sizeof(*c));
  if (c == NULL) return TAVI_E_NOMEM;

  c->handlers = handlers;
  c->user = user;
  c->conf = conf;
  c->proto = conf->proto;
  int err = tavi__source_open(&c->src, m, ops, fd);
  if (err < 0) {
    free(c);
    return err;
  }
  conf->refs++;
  *ret_conn = c;
  return 0;
}

void tavi__conn_destroy(struct tavi__source *s) {
  struct tavi_conn *c = tavi__conn_of(s);
  tavi__conf_unref(c->conf);
  free(c);
}

void tavi__conn_on_closed(struct tavi__source *s) {
  struct tavi_conn *c = tavi__conn_of(s);
  if (c->conf->dial != NULL) tavi__connect_end(c);
  tavi__fd_close(s->io.fd);
  s->io.fd = -1;
  tavi__sendq_clear(&c->out, s->manager);
  if (c->proto->on_closing != NULL) c->proto->on_closing(c);
  /* What was received is still there: a slow consumer takes the rest here when the peer has gone. */
  if (c->handlers->on_close != NULL) c->handlers->on_close(c, c->user);
  if (c->proto->on_end != NULL) c->proto->on_end(c);
  tavi__recvbuf_free(&c->in, s->manager);
}

void tavi__conn_on_wakeup(struct tavi__source *s, struct tavi_slice data) {
  struct tavi_conn *c = tavi__conn_of(s);
  if (c->handlers->on_wakeup != NULL) c->handlers->on_wakeup(c, data, c->user);
}

void tavi__conn_on_failed(struct tavi__source *s, int err) {
  tavi__conn_fail_with(tavi__conn_of(s), err, "cannot watch the socket");
}

void tavi__conn_fail(struct tavi_conn *c, int err, const char *text) {
  if (c->src.is_closing) return;

  tavi__log(c->src.manager, TAVI_LOG_DEBUG, "connection %llu: %s", (unsigned long long) c->src.id, text);
  tavi__source_close(&c->src);
  if (c->handlers->on_error != NULL) c->handlers->on_error(c, err, text, c->user);
}

void tavi__conn_fail_with(struct tavi_conn *c, int err, const char *what) {
  char text[320];
  snprintf(text, sizeof(text), "%.255s: %s", what, tavi_err_text(err));
  tavi__conn_fail(c, err, text);
}

void tavi__conn_drain(struct tavi_conn *c, bool linger) {
  if (c->src.is_closing) return;

  c->is_draining = true;
  if (linger && !c->at_eof) c->wants_linger = true;
  tavi__conn_watch(c);
  tavi__source_flush(&c->src); /* even with an empty queue: the flush ends it */
}

void tavi_conn_close(struct tavi_conn *c) { tavi__source_close(&c->src); }

void tavi_conn_drain(struct tavi_conn *c) { tavi__conn_drain(c, false); }

void tavi_conn_fail(struct tavi_conn *c, const char *text) { tavi__conn_fail(c, TAVI_E_USER, text); }

/* ==== what to wait for ==== */

static bool wants_input(const struct tavi_conn *c) {
  if (c->is_lingering) return true;
  /* A client of HTTP with much to send goes on reading: the server may refuse it early. */
  bool is_full = c->is_full && !(c->is_client && c->proto->is_http);
  return !(c->at_eof || c->is_paused || c->is_held || is_full || c->is_rx_full);
}

void tavi__conn_watch(struct tavi_conn *c) {
  unsigned events;
  if (c->is_connecting)
    events = TAVI__OUT;
  else if (c->is_hung && !wants_input(c))
    events = TAVI__UNWATCHED;
  else
    events = (wants_input(c) ? TAVI__IN : 0u) | (c->is_blocked ? TAVI__OUT : 0u);
  tavi__source_want(&c->src, events);
}

void tavi__conn_on_deadline(struct tavi__source *s) {
  struct tavi_conn *c = tavi__conn_of(s);
  uint64_t now = s->manager->now_ms;
  /* (Not blocked: there is room, as we have just heard.) */
  if (c->write_deadline_ms != 0 && c->write_deadline_ms <= now && c->is_blocked) {
    tavi__conn_fail(c, TAVI_E_TIMEOUT, "write time-out: the peer takes nothing");
    return;
  }
  if (c->read_deadline_ms != 0 && c->read_deadline_ms <= now) {
    c->read_deadline_ms = 0;
    if (c->is_lingering)
      tavi__source_close(s);
    else if (c->is_connecting || c->is_resolving)
      tavi__connect_timeout(c);
    else if (c->proto->on_timeout == NULL || !c->proto->on_timeout(c))
      tavi__conn_fail(c, TAVI_E_TIMEOUT, "idle time-out");
    if (s->is_closing) return;
  }
  if (c->is_connecting) tavi__source_deadline(s, tavi__connect_attempt(c));
  /* It was set early: deadlines that move back are only noted (tavi__source_deadline()). */
  tavi__source_deadline(s, c->read_deadline_ms);
  tavi__source_deadline(s, c->write_deadline_ms);
}

void tavi_conn_pause(struct tavi_conn *c) {
  c->is_paused = true;
  tavi__conn_watch(c);
}

void tavi_conn_resume(struct tavi_conn *c) {
  if (!c->is_paused) return;

  c->is_paused = false;
  tavi__conn_watch(c);
  /* The protocol may have held some back. */
  if (c->is_held || tavi__conn_input(c).len > 0) tavi__source_again(&c->src);
}

/* ==== received bytes ==== */

void tavi__conn_input_cut(struct tavi_conn *c, size_t at, size_t n) {
  struct tavi_manager *m = c->src.manager;
  struct tavi__input in = tavi__conn_input(c);
  if (n == 0) return;
  memmove(in.ptr + at, in.ptr + at + n, in.len - at - n);
  if (m->rx_owner == &c->src)
    m->rx_len -= n;
  else
    c->in->len -= n;
}

struct tavi_slice tavi_conn_peek(const struct tavi_conn *c) {
  if (c->proto->peek != NULL) return c->proto->peek(c);
  struct tavi__input in = tavi__conn_input(c);
  return (struct tavi_slice){in.ptr, in.len};
}

void tavi_conn_consume(struct tavi_conn *c, size_t n) {
  size_t has = tavi_conn_peek(c).len;
  if (n > has) n = has;
  c->has_consumed = true;
  if (c->proto->consume != NULL)
    c->proto->consume(c, n);
  else
    tavi__conn_input_drop(c, n);
  if (c->is_rx_full && tavi__conn_input(c).len <= c->conf->opts.recv_bytes_max / 2) {
    c->is_rx_full = false;
    tavi__conn_watch(c);
  }
}

size_t tavi_conn_recv_held(const struct tavi_conn *c) { return c->in == NULL ? 0 : sizeof(*c->in) + c->in->cap; }

/* ==== queued bytes ==== */

int tavi__conn_may_queue_more(struct tavi_conn *c, uint64_t len) {
  size_t max = c->conf->opts.send_bytes_max, has = c->out.bytes;
  if (has <= max && len <= max - has) return 0;
  has = tavi__sendq_in_memory(&c->out); /* ranges of files do not count */
  if (has == 0 || (has <= max && len <= max - has)) return 0;
  tavi__conn_fail(c, TAVI_E_LIMIT, "send queue is full: send_bytes_max is reached");
  return TAVI_E_LIMIT;
}

void tavi__conn_is_full(struct tavi_conn *c) {
  c->is_full = true;
  tavi__conn_watch(c);
}

/* The end of every append: count it, or fail the connection. */
static int queued(struct tavi_conn *c, int err) {
  if (err < 0)
    tavi__conn_fail_with(c, err, "cannot queue");
  else
    tavi__conn_queued(c);
  return err;
}

int tavi__conn_queue(struct tavi_conn *c, const void *data, size_t len) {
  int err = tavi__conn_may_queue(c, len);
  if (err < 0 || len == 0) return err;
  return queued(c, tavi__sendq_copy(&c->out, c->src.manager, data, len));
}

int tavi__conn_queue_foreign(struct tavi_conn *c, const void *data, size_t len, void (*release)(void *), void *arg) {
  return queued(c, tavi__sendq_foreign(&c->out, c->src.manager, data, len, release, arg));
}

/* Raw bytes by the user: the protocol has a look first. 0: queue them; 1: drop them; negative: an error. */
static int may_send(struct tavi_conn *c, const void *data, uint64_t len) {
  int err = tavi__conn_may_queue(c, data == NULL ? 0 : len);
  if (err < 0 || len == 0) return err < 0 ? err : 1;
  return c->proto->on_output == NULL ? 0 : c->proto->on_output(c, data, len);
}

int tavi_conn_send(struct tavi_conn *c, const void *data, size_t len) {
  if (c->is_udp) return tavi__udp_send(c, data, len);

  int may = may_send(c, data, len);
  if (may != 0) return may < 0 ? may : 0;
  return queued(c, tavi__sendq_copy(&c->out, c->src.manager, data, len));
}

int tavi_conn_send_foreign(struct tavi_conn *c, const void *data, size_t len, void (*release)(void *arg), void *arg) {
  int may = c->is_udp ? tavi__udp_send(c, data, len) : may_send(c, data, len);
  if (may != 0 || c->is_udp) {
    release(arg);
    return may < 0 ? may : 0;
  }
  return queued(c, tavi__sendq_foreign(&c->out, c->src.manager, data, len, release, arg));
}

int tavi_conn_send_file(struct tavi_conn *c, int fd, uint64_t offset, uint64_t len) {
  struct tavi__file *file = tavi__file_new(fd);
  int err = file == NULL ? queued(c, TAVI_E_NOMEM) : tavi__conn_send_file(c, file, offset, len);
  tavi__file_unref(file);
  return err;
}

int tavi__conn_send_file(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, uint64_t len) {
  int may = c->is_udp ? TAVI_E_UNSUPPORTED : may_send(c, NULL, len);
  if (may != 0) return may < 0 ? may : 0;
  return queued(c, tavi__sendq_file(&c->out, c->src.manager, tavi__file_ref(file), offset, len));
}

size_t tavi_conn_send_pending(const struct tavi_conn *c) { return c->out.bytes; }

size_t tavi_conn_send_held(const struct tavi_conn *c) { return tavi__sendq_held(&c->out); }

size_t tavi_conn_send_peek(const struct tavi_conn *c, void *buf, size_t cap) {
  return tavi__sendq_peek(&c->out, buf, cap);
}

/* ==== asking ==== */

unsigned tavi_conn_flags(const struct tavi_conn *c) {
  bool is_now = c->ready_turn == c->src.manager->turn;
  return (c->is_client ? TAVI_CONN_CLIENT : 0u) | (c->is_udp ? TAVI_CONN_UDP : 0u) |
         (c->peer.family == 1 ? TAVI_CONN_UNIX : 0u) | (c->is_resolving ? TAVI_CONN_RESOLVING : 0u) |
         (c->is_connecting ? TAVI_CONN_CONNECTING : 0u) | (c->is_draining ? TAVI_CONN_DRAINING : 0u) |
         (c->src.is_closing ? TAVI_CONN_CLOSING : 0u) |
         (is_now && c->ready_events & TAVI__IN ? TAVI_CONN_READABLE : 0u) |
         (is_now && c->ready_events & TAVI__OUT ? TAVI_CONN_WRITABLE : 0u) | (c->is_full ? TAVI_CONN_FULL : 0u) |
         (c->is_paused ? TAVI_CONN_PAUSED : 0u) | (c->proto->is_http ? TAVI_CONN_HTTP : 0u);
}

uint64_t tavi_conn_id(const struct tavi_conn *c) { return c->src.id; }

struct tavi_manager *tavi_conn_manager(const struct tavi_conn *c) { return c->src.manager; }

uint64_t tavi_conn_listener_id(const struct tavi_conn *c) { return c->conf->listener_id; }

void *tavi_conn_user(const struct tavi_conn *c) { return c->user; }

void tavi_conn_set_user(struct tavi_conn *c, void *user) { c->user = user; }

int tavi_conn_local_addr(const struct tavi_conn *c, struct tavi_addr *ret_addr) {
  struct tavi__sockaddr a;
  if (c->src.io.fd < 0 || c->is_connecting || tavi__sock_local(c->src.io.fd, &a) < 0) return TAVI_E_NOT_FOUND;
  tavi__sockaddr_text(&a, ret_addr);
  return 0;
}

int tavi_conn_remote_addr(const struct tavi_conn *c, struct tavi_addr *ret_addr) {
  struct tavi__sockaddr a;
  if (c->peer.family == 0) return TAVI_E_NOT_FOUND;
  tavi__peer_text(&c->peer, ret_addr);
  bool has_path = ret_addr->is_unix && c->src.io.fd >= 0 && tavi__sock_peer(c->src.io.fd, &a) == 0;
  if (has_path) tavi__sockaddr_text(&a, ret_addr);
  return 0;
}
